// Integer expressions over named symbols: the algebra of every dynamic shape (Transformer-Lite,
// symbolic dynamic shapes). An expression is kept in normal form, so equal polynomials compare
// equal; sizes are compared by proof over the symbols' ranges, never by trying one binding.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace pocket {

// Values of symbols, e.g. {tokens: 64, past: 128}.
using Bindings = std::map<std::string, int64_t, std::less<>>;

// Inclusive range of a symbol. 0 <= min <= max.
struct Range {
  int64_t min = 0;
  int64_t max = 0;
};
using Ranges = std::map<std::string, Range, std::less<>>;

enum class Proof { yes, no, unknown };

// Sum of integer multiples of products of atoms; an atom is a symbol or one of floordiv, max, min
// over expressions (ceildiv is written as floordiv). Immutable value type. Arithmetic that would
// leave int64 throws Error(bad_input), and so does an expression of more than 4096 terms.
class Expr {
 public:
  Expr() = default;     // 0
  Expr(int64_t value);  // NOLINT: constants mix freely with expressions
  // A name is a letter or underscore, then letters, digits, or one of _ . : $ #
  static Expr symbol(std::string_view name);  // Throws Error(bad_input) on any other name.

  Expr operator+(const Expr&) const;
  Expr operator-(const Expr&) const;
  Expr operator*(const Expr&) const;
  // Rounded towards minus infinity (plus infinity). A factor that both sides share is cancelled,
  // so the divisor must not be zero.
  static Expr floordiv(const Expr& a, const Expr& b);
  static Expr ceildiv(const Expr& a, const Expr& b);
  static Expr max(const Expr& a, const Expr& b);
  static Expr min(const Expr& a, const Expr& b);

  bool operator==(const Expr&) const;
  bool operator<(const Expr&) const;  // a total order for containers, not a comparison of values

  bool is_constant() const;
  int64_t constant() const;                  // Throws Error(bad_input) when symbols remain.
  std::vector<std::string> symbols() const;  // sorted, unique

  // Throws Error(bad_input) naming the symbol when one is not bound, or on division by zero.
  int64_t evaluate(const Bindings&) const;
  Expr substitute(std::string_view symbol, const Expr& value) const;

  std::string str() const;  // "64*tokens + past", parse() reads it back
  // Also reads a // b, ceildiv(a, b) and parentheses. Throws Error(bad_input) with the position.
  static Expr parse(std::string_view text);

  struct Atom;
  struct Term;
  const std::vector<Term>& terms() const;  // normal form, sorted

 private:
  static Expr from_terms(std::vector<Term>);  // sorts, merges, drops zeros
  static Expr from_atom(Atom);
  int64_t constant_or_zero() const;
  static Expr extremum(bool largest, const Expr& a, const Expr& b);
  friend class Prover;

  std::shared_ptr<const std::vector<Term>> terms_;  // null means 0
};

inline Expr operator+(int64_t a, const Expr& b) { return Expr(a) + b; }
inline Expr operator-(int64_t a, const Expr& b) { return Expr(a) - b; }
inline Expr operator*(int64_t a, const Expr& b) { return Expr(a) * b; }

struct Expr::Atom {
  enum class Kind : uint8_t { symbol, floordiv, max, min };
  Kind kind = Kind::symbol;
  std::string name;  // of a symbol
  Expr a, b;         // arguments of the others; max and min hold them in order
  // -1, 0, 1: the total order behind the normal form.
  static int compare(const Atom&, const Atom&);
};

// coefficient * product of factors. Factors are sorted; none: the constant term.
struct Expr::Term {
  int64_t coefficient = 0;
  std::vector<Atom> factors;
};

// a <= b for every binding inside the ranges: yes, no (false for every binding), or unknown.
Proof prove_le(const Expr& a, const Expr& b, const Ranges& ranges);

}  // namespace pocket
