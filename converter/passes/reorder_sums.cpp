// Before: a, b -> Add -+                  After: a, x -> Add -+
//         x -----------+-> Add -> y              b -----------+-> Add -> y
// where a and b are made by a Linear each. Blocks that work side by side (attention and MLP of the
// same rows) are summed before they meet the residual stream; this way each of the two can add to
// it what it made (fuse_linear_residual).
//
// Before: a, x -> Add -> Add bias -> y         After: a + bias, x -> Add -> y
// where a is made by a Linear without a bias, which takes this one.
#include "converter/passes/match.h"
#include "converter/passes/rewrites.h"

namespace pocket {

using ir::Graph;
using ir::kAbsent;
using ir::Node;
using ir::NodeId;
using ir::ValueId;

namespace {

bool takes_residual(const Graph& graph, ValueId value) {
  const Node* linear = made_by(graph, value, "Linear", "pocket");
  return linear != nullptr && used_once(graph, value) && linear->inputs[2] == kAbsent &&
         linear->text("activation", "none") == "none";
}

bool comes_from_attention(const Graph& graph, ValueId value) {
  const Node* linear = graph.producer(value);
  return made_by(graph, linear->inputs[0], "Attention", "pocket") != nullptr;
}

// The operand of a sum that is itself a sum of two Linears; 2 when there is none.
size_t inner_sum(const Graph& graph, const Node& node) {
  if (!node.is("Add")) return 2;
  for (const size_t side : {size_t{0}, size_t{1}}) {
    const ValueId other = node.inputs[1 - side];
    const Node* sum = made_by(graph, node.inputs[side], "Add");
    if (sum == nullptr || !used_once(graph, node.inputs[side]) || is_constant(graph, other) ||
        takes_residual(graph, other) || !same_shape(graph, other, node.outputs[0])) {
      continue;
    }
    const bool both = sum->inputs[0] != sum->inputs[1] && takes_residual(graph, sum->inputs[0]) &&
                      takes_residual(graph, sum->inputs[1]) &&
                      same_shape(graph, sum->inputs[0], other) &&
                      same_shape(graph, sum->inputs[1], other);
    if (both) return side;
  }
  return 2;
}

// The Linear without a bias that makes an operand of the sum below `node`, which adds a constant to
// it; kAbsent when there is none.
struct LateBias {
  NodeId linear = kAbsent;
  ValueId bias = kAbsent, sum = kAbsent;
};
std::optional<LateBias> late_bias(const Graph& graph, const Node& node) {
  if (!node.is("Add")) return std::nullopt;
  for (const size_t side : {size_t{0}, size_t{1}}) {
    const ValueId bias = node.inputs[1 - side], value = node.inputs[side];
    const Node* sum = made_by(graph, value, "Add");
    const auto width = last_dim(graph, value);
    if (sum == nullptr || !width || !used_once(graph, value) || scalar(graph, bias) ||
        !is_vector_constant(graph, bias, *width) || !same_shape(graph, value, node.outputs[0])) {
      continue;
    }
    for (const ValueId operand : sum->inputs) {
      if (takes_residual(graph, operand) && same_shape(graph, operand, value) &&
          graph.producer(operand)->inputs[1] == kAbsent) {
        return LateBias{graph.value(operand).producer, bias, value};
      }
    }
  }
  return std::nullopt;
}

}  // namespace

int reorder_sums(PassContext& context) {
  Graph& graph = context.graph;
  int hits = 0;
  for (const NodeId id : graph.order()) {
    if (!graph.alive(id)) continue;
    if (const auto late = late_bias(graph, graph.node(id))) {
      graph.node(late->linear).inputs[1] = late->bias;
      graph.replace_uses(graph.node(id).outputs[0], late->sum);
      ++hits;
    }
  }
  graph.remove_dead();
  for (const NodeId id : graph.order()) {
    const size_t side = graph.alive(id) ? inner_sum(graph, graph.node(id)) : 2;
    if (side == 2) continue;
    Node& outer = graph.node(id);
    Node& inner = graph.node(graph.value(outer.inputs[side]).producer);
    // What attention made goes first: the rest of the layer stays behind its attention.
    const size_t last = comes_from_attention(graph, inner.inputs[1]) ? 0 : 1;
    std::swap(outer.inputs[1 - side], inner.inputs[last]);
    ++hits;
  }
  return hits;
}

}  // namespace pocket
