// + - * / // % ** of Python's numbers, texts and lists. Integers have 64 bits: more is refused.
#include <cmath>

#include "runtime/text/jinja/interpreter.h"

namespace pocket::jinja {

namespace {

[[noreturn]] void fail_overflow() { fail("computes an integer of more than 64 bits"); }

int64_t power(int64_t base, int64_t exponent) {
  int64_t out = 1;
  if (base == 0 || base == 1) return exponent == 0 ? 1 : base;
  if (base == -1) return exponent % 2 == 0 ? 1 : -1;
  for (int64_t i = 0; i < exponent; ++i) {
    if (__builtin_mul_overflow(out, base, &out)) fail_overflow();
  }
  return out;
}

Value of_integers(const std::string& op, int64_t a, int64_t b) {
  int64_t out = 0;
  if (op == "+") {
    if (__builtin_add_overflow(a, b, &out)) fail_overflow();
    return out;
  }
  if (op == "-") {
    if (__builtin_sub_overflow(a, b, &out)) fail_overflow();
    return out;
  }
  if (op == "*") {
    if (__builtin_mul_overflow(a, b, &out)) fail_overflow();
    return out;
  }
  if (op == "**") {
    if (b >= 0) return power(a, b);
    if (a == 0) fail("divides by 0");
    return std::pow(static_cast<double>(a), static_cast<double>(b));
  }
  if (b == 0) fail("divides by 0");
  if (op == "/") {
    constexpr int64_t kExact = int64_t{1} << 53;
    if (a > kExact || a < -kExact || b > kExact || b < -kExact) fail_overflow();
    return static_cast<double>(a) / static_cast<double>(b);
  }
  if (a == INT64_MIN && b == -1) {
    if (op == "//") fail_overflow();
    return int64_t{0};
  }
  const bool down = a % b != 0 && (a < 0) != (b < 0);
  if (op == "//") return a / b - (down ? 1 : 0);
  return a % b + (down ? b : 0);
}

Value of_reals(const std::string& op, double a, double b) {
  if (op == "+") return a + b;
  if (op == "-") return a - b;
  if (op == "*") return a * b;
  if (op == "**") {
    if (a < 0 && b != std::floor(b)) fail("takes a root of a negative number");
    const double out = std::pow(a, b);
    if (std::isinf(out) && !std::isinf(a) && !std::isinf(b)) fail("computes a number out of range");
    return out;
  }
  if (b == 0) fail("divides by 0");
  if (op == "/") return a / b;
  // Python: the remainder has the sign of the divisor.
  double rest = std::fmod(a, b);
  double whole = (a - rest) / b;
  if (rest != 0) {
    if ((b < 0) != (rest < 0)) {
      rest += b;
      whole -= 1;
    }
  } else {
    rest = std::copysign(0.0, b);
  }
  if (op == "%") return rest;
  double floored = std::copysign(0.0, a / b);
  if (whole != 0) {
    floored = std::floor(whole);
    if (whole - floored > 0.5) floored += 1;
  }
  return floored;
}

}  // namespace

Value Interpreter::repeat(const Value& value, int64_t times) {
  const auto count = static_cast<size_t>(std::max<int64_t>(times, 0));
  const size_t one = value.size() + 1;
  if (count != 0 && one > kMaxValueSize / count) fail("repeats a value too often");
  charge(one * count);
  if (value.is_text()) {
    std::string out;
    for (size_t i = 0; i < count; ++i) out += value.text();
    return out;
  }
  std::vector<Value> items;
  for (size_t i = 0; i < count; ++i) {
    items.insert(items.end(), value.list()->items.begin(), value.list()->items.end());
  }
  return make_list(std::move(items), value.list()->kind);
}

Value Interpreter::add(const Value& a, const Value& b) { return arithmetic("+", a, b); }

Value Interpreter::arithmetic(const std::string& op, const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    if (a.is_real() || b.is_real()) return of_reals(op, a.real(), b.real());
    return of_integers(op, *a.integer(), *b.integer());
  }
  const auto is_sequence = [](const Value& x) {
    return x.is_text() || (x.list() != nullptr && (x.list()->kind == List::Kind::list ||
                                                   x.list()->kind == List::Kind::tuple));
  };
  if (op == "+" && a.is_text() && b.is_text()) return text(a.text() + b.text());
  if (op == "+" && is_sequence(a) && is_sequence(b) && !a.is_text() && !b.is_text() &&
      a.list()->kind == b.list()->kind) {
    std::vector<Value> items = a.list()->items;
    items.insert(items.end(), b.list()->items.begin(), b.list()->items.end());
    charge(a.size() + b.size());
    return make_list(std::move(items), a.list()->kind);
  }
  if (op == "*" && is_sequence(a) && b.integer()) return repeat(a, *b.integer());
  if (op == "*" && is_sequence(b) && a.integer()) return repeat(b, *a.integer());
  for (const Value* value : {&a, &b}) {
    if (value->is_undefined()) {
      fail("uses a value that is not there: " + value->undefined_reason());
    }
  }
  if (op == "%" && a.is_text()) fail("formats a text with %, which is not supported");
  fail("computes " + std::string(a.type_name()) + " " + op + " " + b.type_name());
}

}  // namespace pocket::jinja
