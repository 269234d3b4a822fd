// Before: x, bias -> BiasGelu | FastGelu     x -> QuickGelu | Swish            a, b -> FusedMatMul
// After:  x, bias -> Add -> Gelu             x -> Mul alpha -> Sigmoid -> Mul x   a, b ->
// (Transpose)
//                                                                       -> MatMul -> (Mul alpha)
#include <algorithm>
#include <numeric>
#include <utility>

#include "converter/onnx/expand.h"

namespace pocket::onnx_import {

using ir::kAbsent;
using ir::Node;
using ir::ValueId;

namespace {

ValueId gelu(Emitter& emit, const Node& node, bool tanh_form) {
  ValueId x = node.inputs[0];
  if (node.inputs.size() > 1 && node.inputs[1] != kAbsent) {
    x = emit.op("Add", {x, node.inputs[1]});
  }
  return emit.op("Gelu", {x}, {{"approximate", std::string(tanh_form ? "tanh" : "none")}});
}

// x * sigmoid(alpha x)
ValueId scaled_swish(Emitter& emit, const Node& node, float alpha) {
  const ValueId x = node.inputs[0];
  const ValueId scaled =
      alpha == 1.0f ? x : emit.op("Mul", {x, emit.scalar_like(static_cast<double>(alpha), x)});
  return emit.op("Mul", {x, emit.op("Sigmoid", {scaled})});
}

// The operand in matmul order: [rows, batch.., columns] -> [batch.., rows, columns], then the last
// two swapped.
ValueId turned(Emitter& emit, ValueId x, bool batch_first, bool flip) {
  std::vector<int64_t> order(emit.expansion().shape(x).size());
  if (order.size() < 2 || (!batch_first && !flip)) return x;
  std::iota(order.begin(), order.end(), 0);
  if (batch_first) std::rotate(order.begin(), order.begin() + 1, order.end() - 1);
  if (flip) std::swap(order[order.size() - 2], order.back());
  return emit.transpose(x, order);
}

ValueId fused_matmul(Emitter& emit, const Node& node) {
  const auto set = [&](const char* key) { return node.integer(key, 0) != 0; };
  const ValueId a = turned(emit, node.inputs[0], set("transBatchA"), set("transA"));
  const ValueId b = turned(emit, node.inputs[1], set("transBatchB"), set("transB"));
  ValueId y = emit.op("MatMul", {a, b});
  const auto alpha = static_cast<double>(node.real("alpha", 1.0f));
  if (alpha != 1.0) y = emit.op("Mul", {y, emit.scalar_like(alpha, node.inputs[0])});
  return y;
}

}  // namespace

Replacement expand_function(Emitter& emit, const Node& node) {
  if (node.op == "FusedMatMul") return std::vector<ValueId>{fused_matmul(emit, node)};
  if (node.op == "QuickGelu") {
    return std::vector<ValueId>{scaled_swish(emit, node, node.real("alpha", 1.702f))};
  }
  if (node.op == "Swish") {
    return std::vector<ValueId>{scaled_swish(emit, node, node.real("alpha", 1.0f))};
  }
  return std::vector<ValueId>{gelu(emit, node, node.op == "FastGelu")};
}

}  // namespace pocket::onnx_import
