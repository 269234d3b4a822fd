#include "runtime/program/generic.h"

#include <limits>

#include "runtime/base/error.h"

namespace pocket {
namespace {

[[noreturn]] void fail(const Expr& expr, const std::string& what) {
  throw Error(ExitCode::bad_input, "The size " + expr.str() + " of a generic operator " + what +
                                       ": kernels evaluate polynomials in past and tokens of "
                                       "degree two, convert another export of the model.");
}

// Which coefficient a product of `past` past symbols and `tokens` token symbols belongs to.
int coefficient_of(int past, int tokens) {
  if (past + tokens > 2) return -1;
  constexpr int kIndex[3][3] = {{0, 2, 5}, {1, 4, -1}, {3, -1, -1}};
  return kIndex[past][tokens];
}

}  // namespace

const char* generic_function_name(GenericFunction function) {
  static constexpr const char* kNames[] = {
      "copy",          "neg",           "abs",         "exp",
      "log",           "sqrt",          "reciprocal",  "tanh",
      "sigmoid",       "erf",           "sin",         "cos",
      "floor",         "ceil",          "round",       "sign",
      "relu",          "softplus",      "is_nan",      "is_inf",
      "logical_not",   "to_bool",       "add",         "sub",
      "mul",           "div",           "pow",         "mod",
      "fmod",          "min",           "max",         "equal",
      "less",          "less_equal",    "logical_and", "logical_or",
      "logical_xor",   "keep",          "where",       "clip",
      "reduce_sum",    "reduce_mean",   "reduce_prod", "reduce_max",
      "reduce_min",    "reduce_l1",     "reduce_l2",   "reduce_sum_square",
      "reduce_argmax", "reduce_argmin", "dot",         "softmax",
      "log_softmax",   "cumsum",        "gather",      "scatter"};
  static_assert(std::size(kNames) == static_cast<size_t>(kLastGenericFunction) + 1);
  const auto i = static_cast<size_t>(function);
  return i < std::size(kNames) ? kNames[i] : "?";
}

size_t generic_operand_count(GenericFunction function) {
  using F = GenericFunction;
  if (function == F::where || function == F::clip) return 3;
  if (function >= F::add && function <= F::keep) return 2;
  if (function == F::dot || function == F::gather || function == F::scatter) return 2;
  return 1;
}

const char* generic_source_name(GenericSource source) {
  static constexpr const char* kNames[] = {"input",     "output", "weight",
                                           "token_ids", "index",  "number"};
  const auto i = static_cast<size_t>(source);
  return i < std::size(kNames) ? kNames[i] : "?";
}

int64_t StepPolynomial::evaluate(int64_t past, int64_t tokens) const {
  return c[0] + c[1] * past + c[2] * tokens + c[3] * past * past + c[4] * past * tokens +
         c[5] * tokens * tokens;
}

StepPolynomial step_polynomial(const Expr& expr, const Bindings& known) {
  Expr bound = expr;
  for (const auto& [name, value] : known) {
    if (name != "past" && name != "tokens") bound = bound.substitute(name, value);
  }
  StepPolynomial result;
  for (const Expr::Term& term : bound.terms()) {
    int past = 0, tokens = 0;
    for (const Expr::Atom& atom : term.factors) {
      const bool symbol = atom.kind == Expr::Atom::Kind::symbol;
      past += symbol && atom.name == "past";
      tokens += symbol && atom.name == "tokens";
      if (!symbol || (atom.name != "past" && atom.name != "tokens")) {
        fail(expr, "is no polynomial of the step");
      }
    }
    const int index = coefficient_of(past, tokens);
    if (index < 0) fail(expr, "has a degree above two");
    if (term.coefficient > std::numeric_limits<int32_t>::max() ||
        term.coefficient < std::numeric_limits<int32_t>::min()) {
      fail(expr, "has a coefficient beyond 32 bits");
    }
    result.c[static_cast<size_t>(index)] += term.coefficient;
  }
  return result;
}

}  // namespace pocket
