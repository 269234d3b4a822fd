// Before: x -> Linear -> Activation -> y
// After:  x -> Linear {activation} -> y
#include "converter/passes/match.h"
#include "converter/passes/rewrites.h"

namespace pocket {

using ir::Graph;
using ir::Node;
using ir::NodeId;
using ir::ValueId;

namespace {

// The plain Linear below an activation that alone reads it; kAbsent when there is none.
NodeId linear_below(const Graph& graph, const Node& node) {
  if (!node.is("Activation", "pocket")) return ir::kAbsent;
  const Node* linear = made_by(graph, node.inputs[0], "Linear", "pocket");
  if (linear == nullptr || !used_once(graph, node.inputs[0]) || linear->inputs[2] != ir::kAbsent ||
      linear->text("activation", "none") != "none") {
    return ir::kAbsent;
  }
  return graph.value(node.inputs[0]).producer;
}

}  // namespace

int fuse_linear_activation(PassContext& context) {
  Graph& graph = context.graph;
  int hits = 0;
  for (const NodeId id : graph.order()) {
    const Node& node = graph.node(id);
    const NodeId linear = linear_below(graph, node);
    if (linear == ir::kAbsent) continue;
    graph.node(linear).attributes["activation"] = node.text("function", "none");
    graph.replace_uses(node.outputs[0], node.inputs[0]);
    graph.remove_dead();
    ++hits;
  }
  return hits;
}

}  // namespace pocket
