// Before: hidden -> Norm -> Linear -> logits
// After:  hidden -> SelectRows -> Norm -> Linear -> logits
// The head: row-wise computations that lead to the logits, from the last norm on. The runtime
// computes it for the rows that are wanted only (DESIGN, Head); the reference selects all rows.
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

// The operand on which a row-wise node of one activation works; kAbsent for other nodes.
ValueId row_operand(const Graph& graph, const Node& node) {
  if (node.domain == "pocket") {
    if (node.op == "Linear") return node.inputs[2] == kAbsent ? node.inputs[0] : kAbsent;
    return node.op == "Norm" || node.op == "Activation" ? node.inputs[0] : kAbsent;
  }
  if (node.op == "Mul" || node.op == "Div" || node.op == "Add" || node.op == "Sub") {
    for (const size_t side : {size_t{0}, size_t{1}}) {
      if (is_constant(graph, node.inputs[side])) return node.inputs[1 - side];
    }
  }
  return kAbsent;
}

// The value before the last norm on the way to the logits, or before the head's Linear when there
// is no norm; kAbsent when the logits are made by something else.
ValueId head_input(const Graph& graph, ValueId logits) {
  ValueId cut = kAbsent;
  bool linear_seen = false;
  for (const Node* node = graph.producer(logits); node != nullptr; node = graph.producer(logits)) {
    const ValueId operand = row_operand(graph, *node);
    if (operand == kAbsent || !used_once(graph, operand)) break;
    if (node->op == "Linear") {
      if (linear_seen) break;  // the body's last Linear
      linear_seen = true;
      cut = operand;
    }
    if (node->op == "Norm" && linear_seen) return operand;
    logits = operand;
  }
  return cut;
}

}  // namespace

int split_head(PassContext& context) {
  Graph& graph = context.graph;
  int hits = 0;
  for (const ValueId output : std::vector<ValueId>(graph.outputs)) {
    const bool is_state = std::any_of(graph.states.begin(), graph.states.end(),
                                      [&](const ir::StatePair& s) { return s.present == output; });
    const ValueId hidden = is_state ? kAbsent : head_input(graph, output);
    if (hidden == kAbsent || made_by(graph, hidden, "SelectRows", "pocket") != nullptr) continue;
    Node select;
    select.name = "head";
    select.op = "SelectRows";
    select.inputs = {hidden};
    const NodeId reader = only_reader(graph, hidden);
    const std::vector<Expr> shape = *graph.value(hidden).shape;
    const ValueId rows = emit(graph, std::move(select), shape);
    std::vector<ValueId>& inputs = graph.node(reader).inputs;
    std::replace(inputs.begin(), inputs.end(), hidden, rows);
    ++hits;
  }
  return hits;
}

}  // namespace pocket
