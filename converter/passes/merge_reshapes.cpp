// Before: x -> Reshape | Squeeze | Unsqueeze | Flatten -> Reshape | ... -> y
// After:  x -> Reshape -> y, or x = y when the shapes are equal
#include "converter/passes/match.h"
#include "converter/passes/rewrites.h"

namespace pocket {

using ir::Graph;
using ir::Node;
using ir::ValueId;

namespace {

bool is_view(const Node& node) {
  return node.domain.empty() && (node.op == "Reshape" || node.op == "Squeeze" ||
                                 node.op == "Unsqueeze" || node.op == "Flatten");
}

// The value before a chain of views that ends in `node`.
ValueId chain_base(const Graph& graph, const Node& node) {
  ValueId base = node.inputs[0];
  for (const Node* before = graph.producer(base); before != nullptr && is_view(*before);
       before = graph.producer(base)) {
    base = before->inputs[0];
  }
  return base;
}

}  // namespace

int merge_reshapes(PassContext& context) {
  Graph& graph = context.graph;
  int hits = 0;
  for (const ir::NodeId id : graph.order()) {
    const Node node = graph.node(id);
    if (!is_view(node) || !has_shape(graph, node.outputs[0])) continue;
    const ValueId base = chain_base(graph, node);
    if (same_shape(graph, base, node.outputs[0])) {
      graph.replace_uses(node.outputs[0], base);
      ++hits;
    } else if (base != node.inputs[0]) {
      const std::vector<Expr> shape = *graph.value(node.outputs[0]).shape;
      const auto merged = emit_reshape(graph, node.name, base, shape);
      if (!merged) continue;
      graph.replace_uses(node.outputs[0], *merged);
      ++hits;
    }
  }
  return hits;
}

}  // namespace pocket
