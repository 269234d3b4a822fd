// Before: x [1, tokens, K] -> Reshape [tokens, K] -> Linear | Norm | Activation -> y [tokens, N]
// After:  x [1, tokens, K] -> Linear | Norm | Activation -> Reshape [tokens, N] -> y
// These work on rows, so a view that keeps the rows may follow instead; there it usually meets its
// inverse and both are merged away.
#include "converter/passes/match.h"
#include "converter/passes/rewrites.h"

namespace pocket {

using ir::Graph;
using ir::Node;
using ir::NodeId;
using ir::ValueId;

namespace {

bool works_on_rows(const Node& node) {
  return node.is("Linear", "pocket") || node.is("Norm", "pocket") ||
         node.is("Activation", "pocket");
}

bool is_view(const Node* node) {
  return node != nullptr && node->domain.empty() &&
         (node->op == "Reshape" || node->op == "Flatten" || node->op == "Squeeze" ||
          node->op == "Unsqueeze");
}

// The value before a chain of views that keep the last dimension; kAbsent when there is no view.
ValueId unviewed_rows(const Graph& graph, ValueId value) {
  const auto width = last_dim(graph, value);
  ValueId before = ir::kAbsent;
  for (const Node* view = graph.producer(value); is_view(view); view = graph.producer(value)) {
    value = view->inputs[0];
    if (!width || rank(graph, value) < 2 || last_dim(graph, value) != width) break;
    before = value;
  }
  return before;
}

}  // namespace

int sink_reshapes(PassContext& context) {
  Graph& graph = context.graph;
  int hits = 0;
  for (const NodeId id : graph.order()) {
    const Node node = graph.node(id);
    if (!works_on_rows(node)) continue;
    const ValueId before = unviewed_rows(graph, node.inputs[0]);
    const ValueId out = node.outputs[0];
    if (before == ir::kAbsent || node.outputs.size() != 1) continue;
    Node moved = node;
    moved.inputs[0] = before;
    moved.outputs.clear();
    std::vector<Expr> shape = *graph.value(before).shape;
    shape.back() = graph.value(out).shape->back();
    const ValueId rows = emit(graph, std::move(moved), shape);
    const std::vector<Expr> old_shape = *graph.value(out).shape;
    const auto viewed = emit_reshape(graph, node.name + "/view", rows, old_shape);
    if (!viewed) continue;
    graph.replace_uses(out, *viewed);
    graph.erase(id);
    ++hits;
  }
  graph.remove_dead();
  return hits + (hits > 0 ? merge_reshapes(context) : 0);
}

}  // namespace pocket
