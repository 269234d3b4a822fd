// Before: x -> DynamicQuantizeLinear -> MatMulInteger codes -> Cast -> Mul scales -> y
//         ids -> Gather codes -> MatMulInteger codes -> Cast -> Mul scales -> y
// After:  x -> MatMul w -> y        ids -> Gather table -> MatMul w -> y
// where w and the table are constants that keep the file's codes (ir::QuantisedMatrix). Dropping
// the dynamic quantisation of x removes its rounding: the recovered product is the more exact one.
#include <algorithm>

#include "converter/onnx/expand_quantised.h"

namespace pocket::onnx_import {

using ir::kAbsent;
using ir::Node;
using ir::NodeId;
using ir::TensorData;
using ir::ValueId;

namespace {

// The weight [K, N] of an integer product; its zero points are one for all or one per column.
std::optional<ValueId> product_weight(Emitter& emit, ValueId codes_id, const TensorData& scales,
                                      ValueId zeros_id) {
  const TensorData* codes = constant(emit.graph(), codes_id);
  const TensorData* zeros = constant(emit.graph(), zeros_id);
  if (codes == nullptr || (zeros_id != kAbsent && zeros == nullptr)) return std::nullopt;
  TensorData spread = scales;
  if (zeros != nullptr && zeros->elements() != scales.elements()) {
    // Scales per column beside one zero point, or the other way round: repeat the single one.
    if (codes->shape.size() != 2) return std::nullopt;
    const int64_t n = codes->shape[1];
    if (zeros->elements() == 1 && scales.elements() == n) {
      TensorData repeated = TensorData::from_floats(
          {n},
          std::vector<float>(static_cast<size_t>(n), static_cast<float>(zeros->as_integers()[0])));
      auto matrix = matrix_of(*codes, scales, &repeated, 1, 0);
      if (!matrix) return std::nullopt;
      return quantised_constant(emit, emit.graph().value(codes_id).name + "/weight", scales.type,
                                *std::move(matrix));
    }
    if (scales.elements() != 1 || zeros->elements() != n) return std::nullopt;
    spread = TensorData::from_floats(
        {n}, std::vector<float>(static_cast<size_t>(n), scales.as_floats()[0]));
  }
  auto matrix = matrix_of(*codes, spread, zeros, 1, 0);
  if (!matrix) return std::nullopt;
  return quantised_constant(emit, emit.graph().value(codes_id).name + "/weight", scales.type,
                            *std::move(matrix));
}

// The float whose dynamic quantisation made `codes` with this scale and zero point.
ValueId quantised_source(const ir::Graph& graph, ValueId codes, ValueId scale, ValueId zero) {
  const Node* node = graph.producer(codes);
  if (node == nullptr || !node->is("DynamicQuantizeLinear") || node->outputs.size() != 3 ||
      node->outputs[0] != codes || (scale != kAbsent && node->outputs[1] != scale) ||
      node->outputs[2] != zero) {
    return kAbsent;
  }
  return node->inputs[0];
}

void note_dynamic(Emitter& emit) {
  const std::string text =
      "The dynamic 8-bit quantisation of activations is dropped; weights keep their codes.";
  auto& notes = emit.expansion().notes;
  if (std::find(notes.begin(), notes.end(), text) == notes.end()) notes.push_back(text);
}

struct ProductFactors {
  ValueId x = kAbsent;
  TensorData weight_scales;
};

// Of codes that DynamicQuantizeLinear made: the factor is its scale times those of the weight.
std::optional<ProductFactors> dynamic_factors(const ir::Graph& graph, const Node& product,
                                              ValueId factor) {
  const ValueId x = quantised_source(graph, product.inputs[0], kAbsent, product.input(2));
  const Node* scales = graph.producer(factor);
  if (x == kAbsent || scales == nullptr || !scales->is("Mul")) return std::nullopt;
  const ValueId x_scale = graph.producer(product.inputs[0])->outputs[1];
  const bool first = scales->inputs[0] == x_scale;
  if (!first && scales->inputs[1] != x_scale) return std::nullopt;
  const TensorData* weight_scales = constant(graph, scales->inputs[first ? 1 : 0]);
  if (weight_scales == nullptr) return std::nullopt;
  return ProductFactors{x, *weight_scales};
}

// Rows of a table of codes as floats, and the scale of the table.
struct TableRows {
  ValueId rows = kAbsent;
  float scale = 1.0f;
};

// What a DequantizeLinear beside the product makes of them; the scale of a table that has none is
// not told apart from those of the weight, and any would do.
std::optional<TableRows> table_rows(Emitter& emit, ValueId codes, ValueId zero) {
  const ir::Graph& graph = emit.graph();
  const auto& shared = emit.expansion().shared;
  const std::vector<NodeId> readers = graph.consumers(codes);
  for (size_t i = 0; i < readers.size() && !shared.contains(rows_key(codes, zero)); ++i) {
    const Node beside = graph.node(readers[i]);  // a copy: nodes are added
    if (beside.is("DequantizeLinear") && beside.input(2) == zero) dequantise(emit, beside);
  }
  if (const auto rows = shared.find(rows_key(codes, zero)); rows != shared.end()) {
    const TensorData* scale = constant(graph, shared.at(scale_key(codes, zero)));
    return TableRows{rows->second, scale->as_floats().front()};
  }
  const Node* gather = graph.producer(codes);
  if (gather == nullptr || !gather->is("Gather") || gather->integer("axis", 0) != 0) {
    return std::nullopt;
  }
  constexpr float kScale = 1.0f / 128.0f;  // codes of 8 bits become about one at the most
  const TensorData* table = constant(graph, gather->inputs[0]);
  const TensorData* zeros = constant(graph, zero);
  if (table == nullptr || (zero != kAbsent && zeros == nullptr)) return std::nullopt;
  auto matrix = matrix_of(*table, TensorData::from_floats({}, {kScale}), zeros, 1, 0);
  if (!matrix) return std::nullopt;
  const ValueId weight = quantised_constant(emit, graph.value(gather->inputs[0]).name + "/weight",
                                            ir::ElementType::f32, *std::move(matrix));
  return TableRows{emit.op("Gather", {weight, gather->inputs[1]}), kScale};
}

// Of looked up codes: the factor is a constant already, the scale of the table times those of the
// weight.
std::optional<ProductFactors> table_factors(Emitter& emit, const Node& product, ValueId factor) {
  const TensorData* both = constant(emit.graph(), factor);
  if (both == nullptr) return std::nullopt;
  const auto table = table_rows(emit, product.inputs[0], product.input(2));
  if (!table) return std::nullopt;
  std::vector<float> weight_scales = both->as_floats();
  for (float& each : weight_scales) each /= table->scale;
  return ProductFactors{table->rows,
                        TensorData::from_floats(both->shape, std::move(weight_scales))};
}

// codes of x -> MatMulInteger -> Cast -> Mul (scale of x * scales of w); the Mul is replaced.
Replacement integer_product(Emitter& emit, const Node& node) {
  ir::Graph& graph = emit.graph();
  const std::vector<NodeId> casts = graph.consumers(node.outputs[0]);
  if (casts.size() != 1 || !graph.node(casts[0]).is("Cast")) return std::nullopt;
  const ValueId as_float = graph.node(casts[0]).outputs[0];
  const std::vector<NodeId> products = graph.consumers(as_float);
  if (products.size() != 1 || !graph.node(products[0]).is("Mul")) return std::nullopt;
  const Node& product = graph.node(products[0]);
  const ValueId factor = product.inputs[0] == as_float ? product.inputs[1] : product.inputs[0];
  auto factors = dynamic_factors(graph, node, factor);
  const bool rounds = factors.has_value();
  if (!factors) factors = table_factors(emit, node, factor);
  if (!factors) return std::nullopt;
  const auto weight = product_weight(emit, node.inputs[1], factors->weight_scales, node.input(3));
  if (!weight) return std::nullopt;
  if (rounds) note_dynamic(emit);
  const ValueId y = emit.op("MatMul", {factors->x, *weight});
  graph.value(y).shape = graph.value(product.outputs[0]).shape;
  graph.value(y).type = graph.value(product.outputs[0]).type;
  graph.replace_uses(product.outputs[0], y);
  // The integer product stays without readers and is removed as dead.
  return std::vector<ValueId>{node.outputs[0]};
}

Replacement float_product(Emitter& emit, const Node& node) {
  ir::Graph& graph = emit.graph();
  const bool dynamic = node.op == "DynamicQuantizeMatMul";
  const ValueId x = dynamic
                        ? node.inputs[0]
                        : quantised_source(graph, node.inputs[0], node.inputs[2], node.input(4));
  const TensorData* scales = constant(graph, node.inputs[dynamic ? 2 : 3]);
  if (x == kAbsent || scales == nullptr) return std::nullopt;
  const auto weight = product_weight(emit, node.inputs[1], *scales, node.input(dynamic ? 3 : 5));
  if (!weight) return std::nullopt;
  note_dynamic(emit);
  ValueId y = emit.op("MatMul", {x, *weight});
  if (const ValueId bias = node.input(dynamic ? 4 : 6); bias != kAbsent) {
    y = emit.op("Add", {y, bias});
  }
  return std::vector<ValueId>{y};
}

}  // namespace

Replacement expand_integer_product(Emitter& emit, const Node& node) {
  if (node.op == "MatMulInteger") return integer_product(emit, node);
  return float_product(emit, node);
}

}  // namespace pocket::onnx_import
