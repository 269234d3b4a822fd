// Text form of expressions: Expr::str and Expr::parse, which read each other's output.
#include <cctype>
#include <limits>

#include "runtime/base/checked.h"
#include "runtime/symbolic/expr.h"

namespace pocket {
namespace {

constexpr size_t kMaxText = 1 << 16;
constexpr int kMaxDepth = 64;

// expr := term (('+' | '-') term)*      term := factor (('*' | '//') factor)*
// factor := '-'* (integer | name | function '(' expr ',' expr ')' | '(' expr ')')
class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {
    if (text.size() > kMaxText) fail("is longer than 65536 characters");
  }

  Expr parse() {
    const Expr result = expression(0);
    if (peek() != '\0') fail("has an unexpected character");
    return result;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ExitCode::bad_input, "The expression '" + std::string(text_.substr(0, 80)) + "' " +
                                         what + " at position " + std::to_string(at_) +
                                         ": write sums, products, floordiv, ceildiv, max, min.");
  }

  char peek() {
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }

  void expect(char wanted) {
    if (peek() != wanted) fail(std::string("misses '") + wanted + "'");
    ++at_;
  }

  Expr expression(int depth) {
    if (depth > kMaxDepth) fail("is nested too deeply");
    Expr sum = product(depth);
    for (char c = peek(); c == '+' || c == '-'; c = peek()) {
      ++at_;
      const Expr right = product(depth);
      sum = c == '+' ? sum + right : sum - right;
    }
    return sum;
  }

  Expr product(int depth) {
    Expr value = factor(depth);
    while (true) {
      const char c = peek();
      if (c == '*') {
        ++at_;
        value = value * factor(depth);
      } else if (c == '/' && text_.substr(at_, 2) == "//") {
        at_ += 2;
        value = Expr::floordiv(value, factor(depth));
      } else {
        return value;
      }
    }
  }

  Expr factor(int depth) {
    bool negative = false;
    for (; peek() == '-'; ++at_) negative = !negative;
    const char c = peek();
    Expr value;
    if (std::isdigit(static_cast<unsigned char>(c))) {
      return number(negative);
    } else if (c == '(') {
      ++at_;
      value = expression(depth + 1);
      expect(')');
    } else {
      value = named(depth);
    }
    return negative ? value * Expr(-1) : value;
  }

  Expr number(bool negative) {
    int64_t value = 0;  // negative throughout: the range of int64 is larger there
    for (; at_ < text_.size() && std::isdigit(static_cast<unsigned char>(text_[at_])); ++at_) {
      value = checked_sub<int64_t>(checked_mul<int64_t>(value, 10, "a number"), text_[at_] - '0',
                                   "a number");
    }
    return Expr(negative ? value : checked_sub<int64_t>(0, value, "a number"));
  }

  Expr named(int depth) {
    const size_t begin = at_;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      const bool part = std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.' ||
                        c == ':' || c == '$' || c == '#';
      if (!part) break;
      ++at_;
    }
    const std::string_view name = text_.substr(begin, at_ - begin);
    if (name.empty()) fail("misses a value");
    if (peek() != '(') return Expr::symbol(name);
    ++at_;
    const Expr a = expression(depth + 1);
    expect(',');
    const Expr b = expression(depth + 1);
    expect(')');
    if (name == "floordiv") return Expr::floordiv(a, b);
    if (name == "ceildiv") return Expr::ceildiv(a, b);
    if (name == "max") return Expr::max(a, b);
    if (name == "min") return Expr::min(a, b);
    fail("uses the unknown function '" + std::string(name.substr(0, 32)) + "'");
  }

  std::string_view text_;
  size_t at_ = 0;
};

std::string atom_text(const Expr::Atom& atom) {
  if (atom.kind == Expr::Atom::Kind::symbol) return atom.name;
  const char* name = atom.kind == Expr::Atom::Kind::floordiv ? "floordiv"
                     : atom.kind == Expr::Atom::Kind::max    ? "max"
                                                             : "min";
  return std::string(name) + "(" + atom.a.str() + ", " + atom.b.str() + ")";
}

}  // namespace

Expr Expr::parse(std::string_view text) { return Parser(text).parse(); }

std::string Expr::str() const {
  if (terms().empty()) return "0";
  std::string text;
  for (const Term& term : terms()) {
    const bool negative = term.coefficient < 0;
    std::string magnitude = std::to_string(term.coefficient);
    if (negative) magnitude.erase(0, 1);
    if (text.empty()) {
      if (negative) text += '-';
    } else {
      // The magnitude of the smallest integer is none itself: it keeps its sign.
      const bool smallest = term.coefficient == std::numeric_limits<int64_t>::min();
      text += negative && !smallest ? " - " : " + ";
      if (smallest) text += '-';
    }
    bool first = true;
    if (term.factors.empty() || magnitude != "1") {
      text += magnitude;
      first = false;
    }
    for (const Atom& atom : term.factors) {
      if (!first) text += '*';
      text += atom_text(atom);
      first = false;
    }
  }
  return text;
}

}  // namespace pocket
