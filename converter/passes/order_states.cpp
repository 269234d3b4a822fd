// Before: past [past, 1, heads, dim] -> ... -> present [past + tokens, 1, heads, dim]
// After:  past [1, heads, past, dim] -> Transpose -> ... -> Transpose -> present [1, heads, ..,
// dim] Exports keep their keys and values in several orders. The states of the program have one of
// their own, so the graph's may be put into the one that the other passes know.
#include <algorithm>

#include "converter/passes/match.h"
#include "converter/passes/rewrites.h"

namespace pocket {

using ir::Graph;
using ir::kAbsent;
using ir::Node;
using ir::NodeId;
using ir::ValueId;

namespace {

// Axes of a state in the order batch, heads, sequence, dim; none when they cannot be told apart or
// already have this order.
std::optional<std::vector<int64_t>> axes_of(const Graph& graph, ValueId past) {
  if (rank(graph, past) != 4) return std::nullopt;
  const std::vector<Expr>& shape = *graph.value(past).shape;
  int64_t batch = -1, sequence = -1;
  std::vector<int64_t> sizes;
  for (int64_t axis = 0; axis < 4; ++axis) {
    const Expr& dim = shape[static_cast<size_t>(axis)];
    if (!dim.is_constant()) {
      if (sequence >= 0) return std::nullopt;
      sequence = axis;
    } else if (dim == Expr(1) && batch < 0) {
      batch = axis;
    } else {
      sizes.push_back(axis);
    }
  }
  if (batch < 0 || sequence < 0 || sizes.size() != 2) return std::nullopt;
  const std::vector<int64_t> axes{batch, sizes[0], sequence, sizes[1]};
  if (axes == std::vector<int64_t>{0, 1, 2, 3}) return std::nullopt;
  return axes;
}

std::vector<Expr> permuted(const std::vector<Expr>& shape, const std::vector<int64_t>& axes) {
  std::vector<Expr> result;
  for (const int64_t axis : axes) result.push_back(shape[static_cast<size_t>(axis)]);
  return result;
}

ValueId transpose(Graph& graph, ValueId value, const std::vector<int64_t>& axes,
                  const std::string& name) {
  const std::vector<Expr> shape = permuted(*graph.value(value).shape, axes);
  Node node;
  node.name = name + "/order";
  node.op = "Transpose";
  node.inputs = {value};
  node.attributes = {{"perm", axes}};
  const NodeId id = graph.add_node(std::move(node));
  const ValueId out = graph.add_output(id, name + "/ordered", graph.value(value).type);
  graph.value(out).shape = shape;
  return out;
}

}  // namespace

int order_states(PassContext& context) {
  Graph& graph = context.graph;
  int hits = 0;
  for (ir::StatePair& state : graph.states) {
    const auto axes = axes_of(graph, state.past);
    if (!axes || !has_shape(graph, state.present)) continue;
    std::vector<int64_t> back(4);
    for (size_t i = 0; i < 4; ++i) back[static_cast<size_t>((*axes)[i])] = static_cast<int64_t>(i);
    ir::Value ordered;
    ordered.name = graph.value(state.past).name;
    ordered.type = graph.value(state.past).type;
    ordered.shape = permuted(*graph.value(state.past).shape, *axes);
    const std::string name = ordered.name;
    const ValueId past = graph.add_value(std::move(ordered));
    const ValueId present = transpose(graph, state.present, *axes, graph.value(state.present).name);
    std::replace(graph.outputs.begin(), graph.outputs.end(), state.present, present);
    const ValueId old_past = state.past;
    graph.replace_uses(old_past, transpose(graph, past, back, name));
    std::replace(graph.inputs.begin(), graph.inputs.end(), old_past, past);
    state = {past, present};
    ++hits;
  }
  return hits;
}

}  // namespace pocket
