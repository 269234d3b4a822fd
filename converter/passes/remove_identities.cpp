// Before: x -> Identity | Dropout | Reshape to its own shape | Transpose without effect |
//              Expand to its own shape | Slice of everything | Concat of one | Mul 1 | Div 1 |
//              Add 0 | Sub 0 -> y
// After:  x = y
#include <algorithm>

#include "converter/passes/match.h"
#include "converter/passes/rewrites.h"

namespace pocket {

using ir::Graph;
using ir::kAbsent;
using ir::Node;
using ir::ValueId;

namespace {

bool transposes_nothing(const Graph& graph, const Node& node) {
  const std::vector<int64_t> order = node.integers("perm");
  if (order.empty()) return rank(graph, node.inputs[0]) == 1;
  for (size_t i = 0; i < order.size(); ++i) {
    if (order[i] != static_cast<int64_t>(i)) return false;
  }
  return true;
}

bool slices_forward(const Graph& graph, const Node& node) {
  if (node.inputs.size() < 5 || node.inputs[4] == kAbsent) return true;
  const auto steps = known_integers(graph, node.inputs[4]);
  return steps && std::all_of(steps->begin(), steps->end(), [](int64_t s) { return s == 1; });
}

// The operand that the node hands through unchanged, kAbsent when it does something.
ValueId handed_through(const Graph& graph, const Node& node) {
  if (!node.domain.empty() || node.outputs.empty() || node.inputs.empty()) return kAbsent;
  const ValueId in = node.inputs[0];
  const ValueId out = node.outputs[0];
  if (in == kAbsent) return kAbsent;
  if (node.op == "Identity") return in;
  if (node.op == "Dropout") {
    const bool mask_read = node.outputs.size() > 1 && node.outputs[1] != kAbsent &&
                           use_count(graph, node.outputs[1]) > 0;
    return mask_read ? kAbsent : in;
  }
  if (node.op == "Concat" && node.inputs.size() == 1) return in;
  if (node.op == "Reshape" || node.op == "Expand") return same_shape(graph, in, out) ? in : kAbsent;
  if (node.op == "Slice") {
    return same_shape(graph, in, out) && slices_forward(graph, node) ? in : kAbsent;
  }
  if (node.op == "Transpose") return transposes_nothing(graph, node) ? in : kAbsent;
  const bool product = node.op == "Mul" || node.op == "Div";
  const bool sum = node.op == "Add" || node.op == "Sub";
  if (!product && !sum) return kAbsent;
  const double neutral = product ? 1.0 : 0.0;
  for (const size_t side : {size_t{1}, size_t{0}}) {
    if (side == 0 && (node.op == "Div" || node.op == "Sub")) continue;
    const auto number = scalar(graph, node.inputs[side]);
    const ValueId other = node.inputs[1 - side];
    if (number && *number == neutral && same_shape(graph, other, out)) return other;
  }
  return kAbsent;
}

}  // namespace

int remove_identities(PassContext& context) {
  Graph& graph = context.graph;
  int hits = 0;
  for (const ir::NodeId id : graph.order()) {
    const Node& node = graph.node(id);
    const ValueId through = handed_through(graph, node);
    if (through == kAbsent) continue;
    graph.replace_uses(node.outputs[0], through);
    ++hits;
  }
  return hits;
}

}  // namespace pocket
