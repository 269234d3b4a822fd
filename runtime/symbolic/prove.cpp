// prove_le: is a polynomial with floordiv, max and min atoms nonnegative over a box of integers?
// Intervals first; then one atom or symbol at a time is replaced by its bounds:
//   c*floordiv(x, c) lies in [x - c + 1, x];  max(a, b) is a or b;  a symbol in which the
//   polynomial is linear takes its least value at an end of its range;  any other range is cut in
//   halves.
// A budget bounds the work; when it is spent the answer is "unknown", which is never wrong.
#include <algorithm>
#include <optional>

#include "runtime/base/error.h"
#include "runtime/symbolic/expr.h"

namespace pocket {
namespace {

__extension__ typedef __int128 Wide;

// Bounds beyond +-2^60 are infinite, so that products of two finite ones fit in 128 bits.
constexpr Wide kFinite = Wide(1) << 60;
constexpr Wide kInfinite = Wide(1) << 124;
constexpr int kBudget = 400;

struct Interval {
  Wide low = -kInfinite, high = kInfinite;
};

Interval clamp(Wide low, Wide high) {
  Interval result{low, high};
  if (low < -kFinite) result.low = -kInfinite;
  if (low > kFinite) result.low = kFinite;
  if (high > kFinite) result.high = kInfinite;
  if (high < -kFinite) result.high = -kFinite;
  return result;
}

bool infinite(Wide v) { return v >= kInfinite || v <= -kInfinite; }

Wide multiply_bound(Wide a, Wide b) {
  if (a == 0 || b == 0) return 0;
  if (infinite(a) || infinite(b)) return ((a < 0) == (b < 0)) ? kInfinite : -kInfinite;
  return a * b;
}

Interval operator+(const Interval& a, const Interval& b) {
  const Wide low = infinite(a.low) || infinite(b.low) ? -kInfinite : a.low + b.low;
  const Wide high = infinite(a.high) || infinite(b.high) ? kInfinite : a.high + b.high;
  return clamp(low, high);
}

Interval operator*(const Interval& a, const Interval& b) {
  const Wide ends[] = {multiply_bound(a.low, b.low), multiply_bound(a.low, b.high),
                       multiply_bound(a.high, b.low), multiply_bound(a.high, b.high)};
  return clamp(*std::min_element(ends, ends + 4), *std::max_element(ends, ends + 4));
}

Wide floor_bound(Wide a, Wide b) {  // b >= 1
  if (infinite(a)) return a;
  if (infinite(b)) return a < 0 ? -1 : 0;
  const Wide quotient = a / b;
  return (a % b != 0 && a < 0) ? quotient - 1 : quotient;
}

Interval divide(const Interval& a, const Interval& b) {
  if (b.low < 1) return {};
  const Wide ends[] = {floor_bound(a.low, b.low), floor_bound(a.low, b.high),
                       floor_bound(a.high, b.low), floor_bound(a.high, b.high)};
  return clamp(*std::min_element(ends, ends + 4), *std::max_element(ends, ends + 4));
}

}  // namespace

class Prover {
 public:
  explicit Prover(const Ranges& ranges) : ranges_(ranges) {}

  // p >= 0 for every binding inside the ranges. False means "not proven".
  bool nonnegative(const Expr& p) {
    if (bounds(p).low >= 0) return true;
    if (bounds(p).high < 0 || --budget_ < 0) return false;
    try {
      if (const Expr::Atom* atom = find_function(p)) return split_function(p, *atom);
      return split_symbol(p);
    } catch (const Error&) {
      return false;  // an intermediate polynomial left 64 bits
    }
  }

 private:
  Interval bounds(const Expr& p) const {
    Interval sum = clamp(0, 0);
    for (const Expr::Term& term : p.terms()) {
      Interval product = clamp(term.coefficient, term.coefficient);
      for (size_t i = 0; i < term.factors.size();) {
        const Interval one = bounds(term.factors[i]);
        size_t power = 0;
        Interval powers = clamp(1, 1);
        for (size_t j = i;
             j < term.factors.size() && Expr::Atom::compare(term.factors[i], term.factors[j]) == 0;
             ++j) {
          powers = powers * one;
          ++power;
        }
        if (power % 2 == 0) powers.low = std::max<Wide>(powers.low, 0);
        product = product * powers;
        i += power;
      }
      sum = sum + product;
    }
    return sum;
  }

  Interval bounds(const Expr::Atom& atom) const {
    using Kind = Expr::Atom::Kind;
    if (atom.kind == Kind::symbol) {
      const auto found = ranges_.find(atom.name);
      if (found == ranges_.end()) return {};
      return clamp(found->second.min, found->second.max);
    }
    const Interval a = bounds(atom.a), b = bounds(atom.b);
    if (atom.kind == Kind::floordiv) return divide(a, b);
    if (atom.kind == Kind::max) return {std::max(a.low, b.low), std::max(a.high, b.high)};
    return {std::min(a.low, b.low), std::min(a.high, b.high)};
  }

  static const Expr::Atom* find_function(const Expr& p) {
    for (const Expr::Term& term : p.terms()) {
      for (const Expr::Atom& atom : term.factors) {
        if (atom.kind != Expr::Atom::Kind::symbol) return &atom;
      }
    }
    return nullptr;
  }

  // p = rest + factor * atom, when no term holds the atom twice.
  struct Linear {
    Expr rest, factor;
  };
  static std::optional<Linear> linear_in(const Expr& p, const Expr::Atom& atom) {
    std::vector<Expr::Term> rest, factor;
    for (const Expr::Term& term : p.terms()) {
      Expr::Term other{term.coefficient, {}};
      for (const Expr::Atom& one : term.factors) {
        if (Expr::Atom::compare(one, atom) != 0) other.factors.push_back(one);
      }
      const size_t power = term.factors.size() - other.factors.size();
      if (power > 1) return std::nullopt;
      (power == 1 ? factor : rest).push_back(std::move(other));
    }
    return Linear{Expr::from_terms(std::move(rest)), Expr::from_terms(std::move(factor))};
  }

  bool split_function(const Expr& p, const Expr::Atom& found) {
    using Kind = Expr::Atom::Kind;
    const Expr::Atom atom = found;  // p's terms go out of reach below
    const auto parts = linear_in(p, atom);
    if (!parts) return split_ranges(p);
    const Expr& rest = parts->rest;
    const Expr& factor = parts->factor;
    const Interval sign = bounds(factor);
    if (atom.kind == Kind::floordiv) {
      if (!atom.b.is_constant() || atom.b.constant() < 1) return split_ranges(p);
      const Expr low = rest * atom.b + factor * (atom.a - atom.b + Expr(1));
      const Expr high = rest * atom.b + factor * atom.a;
      if (sign.low >= 0 ? nonnegative(low)
                        : nonnegative(high) && (sign.high <= 0 || nonnegative(low))) {
        return true;
      }
      return split_ranges(p);
    }
    // The one value that bounds the atom from the side that matters, else both cases.
    const bool either = atom.kind == Kind::max ? sign.low >= 0 : sign.high <= 0;
    const Expr first = rest + factor * atom.a, second = rest + factor * atom.b;
    if (either ? nonnegative(first) || nonnegative(second)
               : nonnegative(first) && nonnegative(second)) {
      return true;
    }
    return split_ranges(p);
  }

  bool split_symbol(const Expr& p) {
    for (const std::string& name : p.symbols()) {
      const auto range = ranges_.find(name);
      if (range == ranges_.end()) return false;
      const Expr symbol = Expr::symbol(name);
      const auto parts = linear_in(p, symbol.terms()[0].factors[0]);
      if (!parts) continue;
      const Expr low = parts->rest + parts->factor * Expr(range->second.min);
      if (bounds(parts->factor).low >= 0) return nonnegative(low);
      const Expr high = parts->rest + parts->factor * Expr(range->second.max);
      if (bounds(parts->factor).high <= 0) return nonnegative(high);
      return nonnegative(low) && nonnegative(high);
    }
    return split_ranges(p);
  }

  // Halves the widest range of p's symbols.
  bool split_ranges(const Expr& p) {
    std::string widest;
    int64_t width = 0;
    for (const std::string& name : p.symbols()) {
      const auto range = ranges_.find(name);
      if (range == ranges_.end()) return false;
      // min >= 0 by contract, so the difference cannot overflow.
      const int64_t extent = range->second.max - std::max<int64_t>(range->second.min, 0);
      if (extent > width) {
        width = extent;
        widest = name;
      }
    }
    if (widest.empty()) return nonnegative(fix_symbols(p));
    Range& range = ranges_.find(widest)->second;
    const Range whole = range;
    const int64_t middle = whole.min + (whole.max - whole.min) / 2;
    range = {whole.min, middle};
    bool proven = nonnegative(p);
    if (proven) {
      range = {middle + 1, whole.max};
      proven = nonnegative(p);
    }
    range = whole;
    return proven;
  }

  // Every symbol of p has a range of one value.
  Expr fix_symbols(const Expr& p) const {
    Bindings point;
    for (const std::string& name : p.symbols()) point[name] = ranges_.find(name)->second.min;
    return Expr(p.evaluate(point));
  }

  Ranges ranges_;
  int budget_ = kBudget;
};

Proof prove_le(const Expr& a, const Expr& b, const Ranges& ranges) {
  for (const auto& [name, range] : ranges) {
    if (range.min < 0 || range.max < range.min) {
      throw Error(ExitCode::bad_input,
                  "Symbol '" + name + "' has the range " + std::to_string(range.min) + ".." +
                      std::to_string(range.max) + ", which must be ascending from 0 or more.");
    }
  }
  try {
    const Expr gap = b - a;
    if (Prover(ranges).nonnegative(gap)) return Proof::yes;
    if (Prover(ranges).nonnegative(gap * Expr(-1) - Expr(1))) return Proof::no;
  } catch (const Error&) {
    // The difference does not fit 64 bits: nothing is known.
  }
  return Proof::unknown;
}

}  // namespace pocket
