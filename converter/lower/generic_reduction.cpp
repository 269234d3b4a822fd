// Reductions, softmax, running sums, and norms over the last dimension.
#include <array>
#include <string>

#include "converter/lower/generic_builder.h"

namespace pocket::generic {
namespace {

using F = GenericFunction;

constexpr std::array<std::pair<const char*, F>, 8> kReductions = {{
    {"ReduceSum", F::reduce_sum},
    {"ReduceMean", F::reduce_mean},
    {"ReduceProd", F::reduce_prod},
    {"ReduceMax", F::reduce_max},
    {"ReduceMin", F::reduce_min},
    {"ReduceL1", F::reduce_l1},
    {"ReduceL2", F::reduce_l2},
    {"ReduceSumSquare", F::reduce_sum_square},
}};

View reduction(Builder& b, F function) {
  const View x = b.in(0);
  std::vector<int64_t> axes = b.node.integers("axes");
  if (b.has(1)) {
    axes.clear();
    for (const Expr& axis : b.elements(1)) {
      if (!axis.is_constant()) throw Refused{};
      axes.push_back(axis.constant());
    }
  }
  if (axes.empty() && b.node.integer("noop_with_empty_axes", 0) != 0) return x;
  std::vector<bool> inner(x.rank(), axes.empty());
  for (const int64_t axis : axes) inner[static_cast<size_t>(b.axis(axis, x.rank()))] = true;
  return b.reduce(function, x, inner, b.node.integer("keepdims", 1) != 0, x.integer);
}

View arg(Builder& b, F function) {
  if (b.node.integer("select_last_index", 0) != 0) throw Refused{};
  const View x = b.in(0);
  std::vector<bool> inner(x.rank(), false);
  inner[static_cast<size_t>(b.axis(b.node.integer("axis", 0), x.rank()))] = true;
  return b.reduce(function, x, inner, b.node.integer("keepdims", 1) != 0, true);
}

// A function along dimensions [first, last) that keeps the shape.
View along(Builder& b, F function, const View& x, size_t first, size_t last, bool reverse,
           std::vector<Expr> scalars) {
  Builder::Step step;
  step.function = function;
  step.integer = x.integer;
  step.scalars = std::move(scalars);
  const std::vector<Expr> strides = contiguous_strides(x.shape);
  Builder::Operand operand{x, {}};
  for (const bool inner : {false, true}) {
    for (size_t d = 0; d < x.rank(); ++d) {
      if ((d >= first && d < last) != inner) continue;
      step.domain.push_back(x.shape[d]);
      Expr out = strides[d], in = x.strides[d];
      if (inner && reverse) {
        step.out_offset = (x.shape[d] - Expr(1)) * out;
        operand.view.offset = operand.view.offset + (x.shape[d] - Expr(1)) * in;
        out = Expr(0) - out;
        in = Expr(0) - in;
      }
      step.out_strides.push_back(out);
      operand.strides.push_back(in);
      step.inner += inner ? 1 : 0;
    }
  }
  step.operands = {std::move(operand)};
  return b.make(x.shape, x.integer, {std::move(step)});
}

View softmax(Builder& b, F function) {
  const View x = b.in(0);
  // Before opset 13 everything from the axis on is one line.
  const bool lines = b.graph.opset >= 13;
  const auto first = static_cast<size_t>(b.axis(b.node.integer("axis", lines ? -1 : 1), x.rank()));
  return along(b, function, x, first, lines ? first + 1 : x.rank(), false, {});
}

View cumsum(Builder& b) {
  const View x = b.in(0);
  const auto d = static_cast<size_t>(b.axis(b.constant_integer(1), x.rank()));
  const int64_t exclusive = b.node.integer("exclusive", 0);
  return along(b, F::cumsum, x, d, d + 1, b.node.integer("reverse", 0) != 0, {Expr(exclusive)});
}

// y = (x - mean) / sqrt(variance + epsilon) * weight + bias over dimensions [first, rank); rms
// keeps the mean.
View normalised(Builder& b, const View& x, size_t first, bool layer, double epsilon,
                const std::optional<View>& weight, const std::optional<View>& bias) {
  std::vector<bool> inner(x.rank(), false);
  for (size_t d = first; d < x.rank(); ++d) inner[d] = true;
  View centred = x;
  if (layer) {
    const View mean = b.reduce(F::reduce_mean, x, inner, true, false);
    centred = b.map(F::sub, {x, mean}, x.shape, false);
  }
  const View square = b.map(F::mul, {centred, centred}, x.shape, false);
  const View variance = b.reduce(F::reduce_mean, square, inner, true, false);
  const View safe = b.map(F::add, {variance, Builder::number(epsilon)}, variance.shape, false);
  const View size = b.map(F::sqrt, {safe}, variance.shape, false);
  View y = b.map(F::div, {centred, size}, x.shape, false);
  if (weight) y = b.map(F::mul, {y, *weight}, x.shape, false);
  if (bias) y = b.map(F::add, {y, *bias}, x.shape, false);
  return y;
}

bool norm(Builder& b) {
  const ir::Node& n = b.node;
  const auto optional = [&](size_t input) {
    return b.has(input) ? std::optional<View>(b.in(input)) : std::nullopt;
  };
  View x = b.in(0);
  const double epsilon = n.real("epsilon", 1e-5f);
  if (n.is("Norm", "pocket")) {
    if (b.has(3)) x = b.map(F::add, {x, b.in(3)}, x.shape, false);
    if (n.outputs.size() > 1) b.set(1, x);
    b.set(0, normalised(b, x, x.rank() - 1, n.text("kind", "rms") == "layer", epsilon, optional(1),
                        optional(2)));
    return true;
  }
  const bool layer = n.op == "LayerNormalization";
  for (size_t i = 1; i < n.outputs.size(); ++i) {
    if (n.outputs[i] != ir::kAbsent) return false;
  }
  const auto first = static_cast<size_t>(b.axis(n.integer("axis", -1), x.rank()));
  b.set(0,
        normalised(b, x, first, layer, epsilon, optional(1), layer ? optional(2) : std::nullopt));
  return true;
}

}  // namespace

bool lower_reduction(Builder& b) {
  const ir::Node& n = b.node;
  if (n.is("Norm", "pocket") || n.is("LayerNormalization") || n.is("RMSNormalization") ||
      n.is("SimplifiedLayerNormalization")) {
    return norm(b);
  }
  if (!n.domain.empty()) return false;
  std::optional<View> view;
  for (const auto& [name, function] : kReductions) {
    if (n.op == name) view = reduction(b, function);
  }
  if (n.op == "ArgMax") view = arg(b, F::reduce_argmax);
  if (n.op == "ArgMin") view = arg(b, F::reduce_argmin);
  if (n.op == "Softmax") view = softmax(b, F::softmax);
  if (n.op == "LogSoftmax") view = softmax(b, F::log_softmax);
  if (n.op == "CumSum") view = cumsum(b);
  if (!view) return false;
  b.set(0, *view);
  return true;
}

}  // namespace pocket::generic
