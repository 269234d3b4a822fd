// Before: x, skip -> SkipLayerNormalization -> y, sum        ids -> EmbedLayerNormalization -> y,
// sum After:  x, skip -> Add -> sum -> LayerNormalization -> y   ids -> Gather -> Add -> sum -> the
// same The Simplified forms become RMSNormalization.
#include "converter/onnx/expand.h"

namespace pocket::onnx_import {

using ir::kAbsent;
using ir::Node;
using ir::ValueId;

namespace {

ValueId plain_norm(Emitter& emit, const Node& node, bool centred, ValueId x, ValueId scale,
                   ValueId shift, float epsilon) {
  std::vector<ValueId> inputs{x, scale};
  if (shift != kAbsent) inputs.push_back(shift);
  return emit.op(centred ? "LayerNormalization" : "RMSNormalization", inputs,
                 {{"axis", node.integer("axis", -1)}, {"epsilon", epsilon}});
}

Replacement skip_norm(Emitter& emit, const Node& node, bool centred) {
  ValueId sum = emit.op("Add", {node.inputs[0], node.inputs[1]});
  const ValueId bias = node.input(centred ? 4 : 3);
  if (bias != kAbsent) sum = emit.op("Add", {sum, bias});
  const ValueId y = plain_norm(emit, node, centred, sum, node.inputs[2],
                               centred ? node.input(3) : kAbsent, node.real("epsilon", 1e-12f));
  return std::vector<ValueId>{y, kAbsent, kAbsent, sum};
}

Replacement embed_norm(Emitter& emit, const Node& node) {
  for (const size_t needed : {size_t{0}, size_t{2}, size_t{3}, size_t{5}, size_t{6}}) {
    if (node.input(needed) == kAbsent) emit.fail("lacks its input " + std::to_string(needed));
  }
  const ValueId ids = node.inputs[0];
  ValueId places = node.input(8);
  if (places == kAbsent) {
    places = emit.unsqueeze(emit.positions(0, emit.expansion().shape(ids)[1]), {0});
  }
  ValueId sum = emit.op("Add", {emit.op("Gather", {node.inputs[2], ids}),
                                emit.op("Gather", {node.inputs[3], places})});
  if (node.input(4) != kAbsent) {
    if (node.input(1) == kAbsent) emit.fail("lacks its segment ids");
    sum = emit.op("Add", {sum, emit.op("Gather", {node.inputs[4], node.inputs[1]})});
  }
  const ValueId y = plain_norm(emit, node, true, sum, node.inputs[5], node.inputs[6],
                               node.real("epsilon", 1e-12f));
  ValueId lengths = kAbsent;  // of each sequence: the sum of its mask, 0 without one
  if (node.outputs.size() > 1 && emit.expansion().used(node.outputs[1])) {
    lengths = node.input(7) == kAbsent
                  ? emit.graph().add_constant("no_mask",
                                              ir::TensorData::from_bytes(ir::ElementType::i32, {1},
                                                                         std::vector<std::byte>(4)))
                  : emit.op("ReduceSum", {node.inputs[7], emit.integers({1})},
                            {{"keepdims", int64_t{0}}});
  }
  return std::vector<ValueId>{y, lengths, sum};
}

}  // namespace

Replacement expand_norm(Emitter& emit, const Node& node) {
  if (node.op == "SkipLayerNormalization") return skip_norm(emit, node, true);
  if (node.op == "SkipSimplifiedLayerNormalization") return skip_norm(emit, node, false);
  if (node.op == "EmbedLayerNormalization") return embed_norm(emit, node);
  if (node.outputs.size() > 1 && emit.expansion().used(node.outputs[1])) return std::nullopt;
  return std::vector<ValueId>{plain_norm(emit, node, false, node.inputs[0], node.inputs[1], kAbsent,
                                         node.real("epsilon", 1e-5f))};
}

}  // namespace pocket::onnx_import
