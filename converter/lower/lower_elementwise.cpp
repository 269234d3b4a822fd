// Functions of single elements of rows, sums and products of rows, and views.
#include <array>
#include <cmath>

#include "converter/lower/node_lowering.h"

namespace pocket {

using ir::Graph;
using ir::ValueId;

namespace {

bool same_shape(const Graph& graph, ValueId a, ValueId b) {
  return graph.value(a).shape && graph.value(a).shape == graph.value(b).shape;
}

// Operators of the exchange format that compute one element from one.
std::optional<Activation> function_of(const std::string& op) {
  static const std::array<std::pair<const char*, Activation>, 11> kOperators = {{
      {"Relu", Activation::relu},
      {"Tanh", Activation::tanh},
      {"Sigmoid", Activation::sigmoid},
      {"Exp", Activation::exp},
      {"Log", Activation::log},
      {"Sqrt", Activation::sqrt},
      {"Neg", Activation::neg},
      {"Abs", Activation::abs},
      {"Softplus", Activation::softplus},
      {"Reciprocal", Activation::reciprocal},
      {"Erf", Activation::erf},
  }};
  for (const auto& [known, activation] : kOperators) {
    if (op == known) return activation;
  }
  return std::nullopt;
}

}  // namespace

std::optional<Activation> activation_of(const std::string& name) {
  for (int i = 0; i <= static_cast<int>(kLastActivation); ++i) {
    const auto activation = static_cast<Activation>(i);
    if (name == activation_name(activation)) return activation;
  }
  return std::nullopt;
}

std::optional<BinaryKind> combination_of(const std::string& op) {
  if (op == "Add") return BinaryKind::add;
  if (op == "Mul") return BinaryKind::mul;
  if (op == "Sub") return BinaryKind::sub;
  if (op == "Div") return BinaryKind::div;
  return std::nullopt;
}

bool NodeLowering::elementwise() {
  if (const auto kind = combination_of(node_.op)) return combine(*kind);
  const auto function = function_of(node_.op);
  return function && unary(0, 1.0f, *function);
}

bool NodeLowering::unary(size_t operand, float scale, Activation function) {
  const TensorId result = out();
  Operator& op = builder_.add(OpKind::unary, node_.name);
  op.inputs = {in(operand)};
  op.outputs = {result};
  op.attributes.scale = scale;
  op.attributes.activation = function;
  return true;
}

bool NodeLowering::activation() {
  const auto function = activation_of(node_.text("function", "none"));
  return function && unary(0, 1.0f, *function);
}

bool NodeLowering::view() {
  if (width_of(graph_, node_.inputs[0]) != width_of(graph_, node_.outputs[0])) return false;
  builder_.alias(node_.outputs[0], node_.inputs[0]);
  return true;
}

bool NodeLowering::combine(BinaryKind kind) {
  const size_t constant_side = is_constant(graph_, node_.inputs[1]) ? 1 : 0;
  const ValueId constant = node_.inputs[constant_side];
  if (!is_constant(graph_, constant)) {
    return same_shape(graph_, node_.inputs[0], node_.inputs[1]) && binary(kind, 0, in(1), kNone);
  }
  const size_t other = 1 - constant_side;
  const bool ordered = kind == BinaryKind::sub || kind == BinaryKind::div;
  if (is_constant(graph_, node_.inputs[other]) || (ordered && constant_side == 0)) return false;
  if (const auto number = scalar(graph_, constant)) {
    const auto value = static_cast<float>(*number);
    const float factor = kind == BinaryKind::div ? 1.0f / value : value;
    const bool product = kind == BinaryKind::mul || kind == BinaryKind::div;
    return product && std::isfinite(factor) && unary(other, factor, Activation::none);
  }
  const auto width = width_of(graph_, node_.inputs[other]);
  const ir::TensorData& data = *graph_.value(constant).constant;
  if (!width || data.shape.empty() || data.shape.back() != *width || data.elements() != *width) {
    return false;
  }
  const bool scales = kind == BinaryKind::mul || kind == BinaryKind::div;
  return binary(kind, other, kNone,
                builder_.vector(constant, module_ + (scales ? ".scale" : ".bias")));
}

bool NodeLowering::binary(BinaryKind kind, size_t first, TensorId second, WeightId weight) {
  const TensorId result = out();
  Operator& op = builder_.add(OpKind::binary, node_.name);
  op.inputs = {in(first), second};
  op.outputs = {result};
  op.weights = {weight};
  op.attributes.binary = kind;
  return true;
}

}  // namespace pocket
