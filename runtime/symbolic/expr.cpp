#include "runtime/symbolic/expr.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <set>

#include "runtime/base/checked.h"

namespace pocket {
namespace {

constexpr size_t kMaxTerms = 4096;
constexpr size_t kMaxDegree = 64;
constexpr const char* kWhat = "a symbolic size";

int compare_factors(const std::vector<Expr::Atom>& a, const std::vector<Expr::Atom>& b) {
  // Higher degree first, so that constants end the list.
  if (a.size() != b.size()) return a.size() > b.size() ? -1 : 1;
  for (size_t i = 0; i < a.size(); ++i) {
    if (const int order = Expr::Atom::compare(a[i], b[i])) return order;
  }
  return 0;
}

int compare_exprs(const Expr& a, const Expr& b) {
  const auto& left = a.terms();
  const auto& right = b.terms();
  if (&left == &right) return 0;
  if (left.size() != right.size()) return left.size() < right.size() ? -1 : 1;
  for (size_t i = 0; i < left.size(); ++i) {
    if (const int order = compare_factors(left[i].factors, right[i].factors)) return order;
    if (left[i].coefficient != right[i].coefficient) {
      return left[i].coefficient < right[i].coefficient ? -1 : 1;
    }
  }
  return 0;
}

bool atom_less(const Expr::Atom& a, const Expr::Atom& b) { return Expr::Atom::compare(a, b) < 0; }

int64_t floor_divide(int64_t a, int64_t b) {
  if (b == 0) {
    throw Error(ExitCode::bad_input,
                "A symbolic size divides by zero, the model's shapes are inconsistent.");
  }
  if (b == -1) return checked_sub<int64_t>(0, a, kWhat);
  const int64_t quotient = a / b;
  return (a % b != 0 && ((a < 0) != (b < 0))) ? quotient - 1 : quotient;
}

bool valid_symbol(std::string_view name) {
  if (name.empty() || name.size() > 256) return false;
  auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  if (!letter(name[0])) return false;
  return std::all_of(name.begin(), name.end(), [&](char c) {
    return letter(c) || (c >= '0' && c <= '9') || c == '.' || c == ':' || c == '$' || c == '#';
  });
}

// The term without the factors `common`, which it must hold as a sub-multiset.
std::optional<Expr::Term> without_factors(const Expr::Term& term,
                                          const std::vector<Expr::Atom>& common) {
  Expr::Term rest{term.coefficient, {}};
  std::set_difference(term.factors.begin(), term.factors.end(), common.begin(), common.end(),
                      std::back_inserter(rest.factors), atom_less);
  if (rest.factors.size() + common.size() != term.factors.size()) return std::nullopt;
  return rest;
}

}  // namespace

int Expr::Atom::compare(const Atom& x, const Atom& y) {
  if (x.kind != y.kind) return x.kind < y.kind ? -1 : 1;
  if (x.kind == Kind::symbol) {
    const int order = x.name.compare(y.name);
    return order < 0 ? -1 : (order > 0 ? 1 : 0);
  }
  if (const int order = compare_exprs(x.a, y.a)) return order;
  return compare_exprs(x.b, y.b);
}

Expr::Expr(int64_t value) {
  if (value != 0) {
    terms_ = std::make_shared<const std::vector<Term>>(std::vector<Term>{Term{value, {}}});
  }
}

Expr Expr::from_atom(Atom atom) {
  Term term{1, {}};
  term.factors.push_back(std::move(atom));
  std::vector<Term> terms;
  terms.push_back(std::move(term));
  Expr result;
  result.terms_ = std::make_shared<const std::vector<Term>>(std::move(terms));
  return result;
}

Expr Expr::from_terms(std::vector<Term> terms) {
  std::sort(terms.begin(), terms.end(),
            [](const Term& a, const Term& b) { return compare_factors(a.factors, b.factors) < 0; });
  std::vector<Term> merged;
  for (Term& term : terms) {
    if (!merged.empty() && compare_factors(merged.back().factors, term.factors) == 0) {
      merged.back().coefficient = checked_add(merged.back().coefficient, term.coefficient, kWhat);
    } else {
      if (!merged.empty() && merged.back().coefficient == 0) merged.pop_back();
      merged.push_back(std::move(term));
    }
  }
  if (!merged.empty() && merged.back().coefficient == 0) merged.pop_back();
  if (merged.size() > kMaxTerms) {
    throw Error(ExitCode::bad_input, "A symbolic size has " + std::to_string(merged.size()) +
                                         " terms, at most " + std::to_string(kMaxTerms) +
                                         " are supported: simplify the model's shapes.");
  }
  Expr result;
  if (!merged.empty()) {
    result.terms_ = std::make_shared<const std::vector<Term>>(std::move(merged));
  }
  return result;
}

Expr Expr::symbol(std::string_view name) {
  if (!valid_symbol(name)) {
    throw Error(ExitCode::bad_input, "'" + std::string(name.substr(0, 64)) +
                                         "' is no symbol name: rename it to letters, digits and "
                                         "underscores.");
  }
  Atom atom;
  atom.name = name;
  return from_atom(std::move(atom));
}

const std::vector<Expr::Term>& Expr::terms() const {
  static const std::vector<Term> kEmpty;
  return terms_ ? *terms_ : kEmpty;
}

Expr Expr::operator+(const Expr& other) const {
  std::vector<Term> sum = terms();
  sum.insert(sum.end(), other.terms().begin(), other.terms().end());
  return from_terms(std::move(sum));
}

Expr Expr::operator-(const Expr& other) const { return *this + other * Expr(-1); }

Expr Expr::operator*(const Expr& other) const {
  if (terms().size() * other.terms().size() > 16 * kMaxTerms) {
    throw Error(ExitCode::bad_input,
                "A product of symbolic sizes has too many terms: simplify the model's shapes.");
  }
  std::vector<Term> product;
  product.reserve(terms().size() * other.terms().size());
  for (const Term& a : terms()) {
    for (const Term& b : other.terms()) {
      Term term{checked_mul(a.coefficient, b.coefficient, kWhat), {}};
      std::merge(a.factors.begin(), a.factors.end(), b.factors.begin(), b.factors.end(),
                 std::back_inserter(term.factors), atom_less);
      if (term.factors.size() > kMaxDegree) {
        throw Error(ExitCode::bad_input, "A symbolic size is a product of more than " +
                                             std::to_string(kMaxDegree) +
                                             " factors: simplify the model's shapes.");
      }
      product.push_back(std::move(term));
    }
  }
  return from_terms(std::move(product));
}

Expr Expr::floordiv(const Expr& a, const Expr& b) {
  if (b.is_constant()) {
    const int64_t divisor = b.constant();
    if (divisor < 0) return floordiv(a * Expr(-1), Expr(checked_sub<int64_t>(0, divisor, kWhat)));
    if (divisor == 0 || a.is_constant()) return floor_divide(a.constant_or_zero(), divisor);
    if (divisor == 1) return a;
    // Whole multiples leave the division; then numerator and divisor share no factor.
    std::vector<Term> whole, rest;
    int64_t common = divisor;
    for (const Term& term : a.terms()) {
      if (term.factors.empty()) {
        const int64_t quotient = floor_divide(term.coefficient, divisor);
        whole.push_back(Term{quotient, {}});
        const int64_t remainder = term.coefficient - quotient * divisor;
        if (remainder != 0) rest.push_back(Term{remainder, {}});
      } else if (term.coefficient % divisor == 0) {
        whole.push_back(Term{term.coefficient / divisor, term.factors});
      } else {
        common = std::gcd(common, term.coefficient);
        rest.push_back(term);
      }
    }
    for (Term& term : rest) {  // floor((g X + r) / (g c)) = floor((X + floor(r / g)) / c)
      term.coefficient = floor_divide(term.coefficient, common);
    }
    const Expr numerator = from_terms(std::move(rest));
    const int64_t reduced = divisor / common;
    const Expr outside = from_terms(std::move(whole));
    if (reduced == 1) return outside + numerator;
    if (numerator.is_constant()) return outside + floor_divide(numerator.constant(), reduced);
    Atom atom;
    atom.kind = Atom::Kind::floordiv;
    atom.a = numerator;
    atom.b = Expr(reduced);
    return outside + from_atom(std::move(atom));
  }
  if (a.terms().empty()) return Expr();
  if (b.terms().size() == 1 && !b.terms()[0].factors.empty()) {
    std::vector<Term> reduced;
    for (const Term& term : a.terms()) {
      if (auto rest = without_factors(term, b.terms()[0].factors)) reduced.push_back(*rest);
    }
    if (reduced.size() == a.terms().size()) {
      return floordiv(from_terms(std::move(reduced)), Expr(b.terms()[0].coefficient));
    }
  }
  if (a == b) return Expr(1);
  Atom atom;
  atom.kind = Atom::Kind::floordiv;
  atom.a = a;
  atom.b = b;
  return from_atom(std::move(atom));
}

Expr Expr::ceildiv(const Expr& a, const Expr& b) {
  if (b.is_constant() && b.constant() > 0) return floordiv(a + (b - Expr(1)), b);
  return floordiv(a * Expr(-1), b) * Expr(-1);
}

Expr Expr::extremum(bool largest, const Expr& a, const Expr& b) {
  std::optional<int64_t> difference;
  try {
    const Expr gap = a - b;
    if (gap.is_constant()) difference = gap.constant();
  } catch (const Error&) {
    // The gap may overflow where neither side does; then both sides stay.
  }
  if (difference) return ((*difference >= 0) == largest) ? a : b;
  Atom atom;
  atom.kind = largest ? Atom::Kind::max : Atom::Kind::min;
  const bool ordered = a < b;
  atom.a = ordered ? a : b;
  atom.b = ordered ? b : a;
  return from_atom(std::move(atom));
}

Expr Expr::max(const Expr& a, const Expr& b) { return extremum(true, a, b); }
Expr Expr::min(const Expr& a, const Expr& b) { return extremum(false, a, b); }

bool Expr::operator==(const Expr& other) const { return compare_exprs(*this, other) == 0; }
bool Expr::operator<(const Expr& other) const { return compare_exprs(*this, other) < 0; }

bool Expr::is_constant() const {
  return terms().empty() || (terms().size() == 1 && terms()[0].factors.empty());
}

int64_t Expr::constant_or_zero() const { return terms().empty() ? 0 : terms()[0].coefficient; }

int64_t Expr::constant() const {
  if (!is_constant()) {
    throw Error(ExitCode::bad_input,
                "The size " + str() + " must be a number: export the model with it fixed.");
  }
  return constant_or_zero();
}

std::vector<std::string> Expr::symbols() const {
  std::set<std::string> names;
  for (const Term& term : terms()) {
    for (const Atom& atom : term.factors) {
      if (atom.kind == Atom::Kind::symbol) {
        names.insert(atom.name);
        continue;
      }
      for (const Expr* side : {&atom.a, &atom.b}) {
        for (std::string& name : side->symbols()) names.insert(std::move(name));
      }
    }
  }
  return {names.begin(), names.end()};
}

int64_t Expr::evaluate(const Bindings& bindings) const {
  int64_t sum = 0;
  for (const Term& term : terms()) {
    int64_t product = term.coefficient;
    for (const Atom& atom : term.factors) {
      int64_t value = 0;
      if (atom.kind == Atom::Kind::symbol) {
        const auto found = bindings.find(atom.name);
        if (found == bindings.end()) {
          throw Error(ExitCode::bad_input,
                      "Symbol '" + atom.name + "' has no value in " + str() + ".");
        }
        value = found->second;
      } else {
        const int64_t a = atom.a.evaluate(bindings), b = atom.b.evaluate(bindings);
        value = atom.kind == Atom::Kind::floordiv ? floor_divide(a, b)
                : atom.kind == Atom::Kind::max    ? std::max(a, b)
                                                  : std::min(a, b);
      }
      product = checked_mul(product, value, kWhat);
    }
    sum = checked_add(sum, product, kWhat);
  }
  return sum;
}

Expr Expr::substitute(std::string_view symbol_name, const Expr& replacement) const {
  Expr sum;
  for (const Term& term : terms()) {
    Expr product(term.coefficient);
    for (const Atom& atom : term.factors) {
      if (atom.kind == Atom::Kind::symbol) {
        product = product * (atom.name == symbol_name ? replacement : from_atom(atom));
        continue;
      }
      const Expr a = atom.a.substitute(symbol_name, replacement);
      const Expr b = atom.b.substitute(symbol_name, replacement);
      product = product * (atom.kind == Atom::Kind::floordiv ? floordiv(a, b)
                           : atom.kind == Atom::Kind::max    ? max(a, b)
                                                             : min(a, b));
    }
    sum = sum + product;
  }
  return sum;
}

}  // namespace pocket
