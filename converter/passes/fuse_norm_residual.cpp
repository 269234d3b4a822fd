// Before: a, b -> Add -> s -> Norm -> y        (s is read elsewhere too)
// After:  a, b -> Norm {residual} -> y, s
#include "converter/passes/match.h"
#include "converter/passes/rewrites.h"

namespace pocket {

using ir::Graph;
using ir::kAbsent;
using ir::Node;
using ir::NodeId;
using ir::ValueId;

namespace {

// The sum of two activations that a norm reads, null when there is none.
const Node* sum_below(const Graph& graph, const Node& node) {
  if (!node.is("Norm", "pocket") || node.inputs[3] != kAbsent) return nullptr;
  const Node* sum = made_by(graph, node.inputs[0], "Add");
  if (sum == nullptr || !same_shape(graph, sum->inputs[0], sum->inputs[1]) ||
      is_constant(graph, sum->inputs[0]) || is_constant(graph, sum->inputs[1])) {
    return nullptr;
  }
  return sum;
}

}  // namespace

int fuse_norm_residual(PassContext& context) {
  Graph& graph = context.graph;
  int hits = 0;
  for (const NodeId id : graph.order()) {
    if (!graph.alive(id)) continue;
    const Node* sum = sum_below(graph, graph.node(id));
    if (sum == nullptr) continue;
    const ValueId a = sum->inputs[0];
    const ValueId b = sum->inputs[1];
    const ValueId old_sum = graph.node(id).inputs[0];
    const std::vector<Expr> shape = *graph.value(old_sum).shape;
    graph.node(id).inputs[0] = a;
    graph.node(id).inputs[3] = b;
    const ValueId made = graph.add_output(id, graph.node(id).name + "/sum", ir::ElementType::f32);
    graph.value(made).shape = shape;
    graph.replace_uses(old_sum, made);
    graph.remove_dead();
    ++hits;
  }
  return hits;
}

}  // namespace pocket
