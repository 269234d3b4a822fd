// Generic operators: what no fused operator computes still runs, plainly and exactly. An operator
// of kind `generic` is a list of steps; a step is one loop nest over a domain that reads strided
// views and writes one. Extents, strides and offsets are expressions in tokens (the real rows of
// the step), past, rows and context, of degree two at most, which kernels evaluate from the step
// record: shapes that grow with the sequence cost no host work (Transformer-Lite, symbolic dynamic
// shapes).
//
// A transposition, slice, broadcast or concatenation is a copy between suitable views; a matrix
// product is `dot` over the domain [..., M, N, K] with the last dimension inner.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "runtime/program/dtype.h"
#include "runtime/symbolic/expr.h"

namespace pocket {

inline constexpr size_t kGenericRank = 8;      // dimensions of a domain, inner ones included
inline constexpr size_t kGenericOperands = 3;  // that a step reads
inline constexpr size_t kGenericScalars = 13;  // 1 + 2 * 6 components of an index

enum class GenericFunction : uint8_t {
  // of a, element by element; comparisons and tests give 0 or 1
  copy,
  neg,
  abs,
  exp,
  log,
  sqrt,
  reciprocal,
  tanh,
  sigmoid,
  erf,
  sin,
  cos,
  floor,
  ceil,
  round,
  sign,
  relu,
  softplus,
  is_nan,
  is_inf,
  logical_not,
  to_bool,
  // of a and b; `mod` has the sign of b, `fmod` that of a; keep: b >= 0 ? a : 0
  add,
  sub,
  mul,
  div,
  pow,
  mod,
  fmod,
  min,
  max,
  equal,
  less,
  less_equal,
  logical_and,
  logical_or,
  logical_xor,
  keep,
  // a ? b : c; a clipped to [b, c]
  where,
  clip,
  // over the inner dimensions of a (dot: of a * b); reduce_argmax: number of the first largest
  reduce_sum,
  reduce_mean,
  reduce_prod,
  reduce_max,
  reduce_min,
  reduce_l1,
  reduce_l2,
  reduce_sum_square,
  reduce_argmax,
  reduce_argmin,
  dot,
  // along the inner dimension, written there; cumsum: scalars[0] != 0 is exclusive
  softmax,
  log_softmax,
  cumsum,
  // a at its view's offset plus sum_k index_k * scalars[2 + 2k], where index_k is b at
  // k * scalars[0] behind its view's place, negative ones counted from the end scalars[1 + 2k],
  // then
  // clamped
  gather,
  // a to the place of the output chosen likewise; an index outside [0, scalars[1 + 2k]) writes
  // nothing
  scatter,
};
const char* generic_function_name(GenericFunction);
inline constexpr GenericFunction kLastGenericFunction = GenericFunction::scatter;
size_t generic_operand_count(GenericFunction);

enum class GenericSource : uint8_t {
  input,      // Operator::inputs[index], a state too
  output,     // Operator::outputs[index]
  weight,     // Operator::weights[index]: a vector; its elements in order
  token_ids,  // the sequence by position, i32
  index,      // the view's element index itself: offset + sum strides * coordinates, i32
  number,     // the constant `number`
};
const char* generic_source_name(GenericSource);

// Element offset + sum over d of strides[d] * coordinate[d] of the source.
struct GenericOperand {
  GenericSource source = GenericSource::input;
  int32_t index = 0;
  double number = 0.0;
  Expr offset;
  std::vector<Expr> strides;  // by dimension of the domain; 0 broadcasts
};

struct GenericStep {
  GenericFunction function = GenericFunction::copy;
  DType compute = DType::f32;  // f32 or i32: what operands are converted to
  std::vector<Expr> domain;    // outer dimensions, then `inner` ones that one result loops over
  int32_t inner = 0;
  GenericOperand out;  // an output of type f32 or i32, or an input that is a state of f32
  std::vector<GenericOperand> operands;  // a, b, c: as many as the function reads
  std::vector<Expr> scalars;
};

// c0 + c1 past + c2 tokens + c3 past^2 + c4 past tokens + c5 tokens^2: what kernels evaluate.
struct StepPolynomial {
  std::array<int64_t, 6> c{};
  int64_t evaluate(int64_t past, int64_t tokens) const;
};

// `known` binds the other symbols (rows, context). Throws Error(bad_input) when the expression has
// another symbol, a higher degree, a division or an extremum, or a coefficient beyond 32 bits.
StepPolynomial step_polynomial(const Expr&, const Bindings& known);

}  // namespace pocket
