// Before: x -> Linear -+
//         r -----------+-> Add -> y
// After:  x, r -> Linear {residual} -> y
// The rule for residual sums: the Linear that makes one operand takes the other, because its
// result then is written once, in the width of the residual stream, instead of being written and
// read again by the norm. Only a sum of which no operand is a Linear goes into the norm
// (fuse_norm_residual).
#include "converter/passes/match.h"
#include "converter/passes/rewrites.h"

namespace pocket {

using ir::Graph;
using ir::kAbsent;
using ir::Node;
using ir::NodeId;
using ir::ValueId;

namespace {

// The operand of a sum that is a plain Linear read by nothing else; 2 when there is none.
size_t linear_operand(const Graph& graph, const Node& node) {
  if (!node.is("Add") || node.inputs[0] == node.inputs[1] ||
      !same_shape(graph, node.inputs[0], node.inputs[1])) {
    return 2;
  }
  for (const size_t side : {size_t{1}, size_t{0}}) {
    const Node* linear = made_by(graph, node.inputs[side], "Linear", "pocket");
    if (linear == nullptr || !used_once(graph, node.inputs[side]) || linear->inputs[2] != kAbsent ||
        linear->text("activation", "none") != "none" || is_constant(graph, node.inputs[1 - side])) {
      continue;
    }
    return side;
  }
  return 2;
}

}  // namespace

int fuse_linear_residual(PassContext& context) {
  Graph& graph = context.graph;
  int hits = 0;
  for (const NodeId id : graph.order()) {
    const Node& node = graph.node(id);
    const size_t side = graph.alive(id) ? linear_operand(graph, node) : 2;
    if (side == 2) continue;
    const ValueId sum = node.inputs[side];
    graph.node(graph.value(sum).producer).inputs[2] = node.inputs[1 - side];
    graph.replace_uses(node.outputs[0], sum);
    graph.remove_dead();
    ++hits;
  }
  return hits;
}

}  // namespace pocket
