// Before: condition, a, b -> Choose -> table, positions -> Gather -> rows
// After:  condition, (a, positions or 0 -> Gather), (b, 0 or positions -> Gather) -> Where -> rows
// The table that is not chosen is asked for its first row: it may have none at these positions.
#include "converter/onnx/expand.h"
#include "runtime/base/error.h"

namespace pocket::onnx_import {

using ir::Node;
using ir::NodeId;
using ir::ValueId;

namespace {

ValueId chosen_rows(Emitter& emit, const Node& choice, ValueId positions) {
  const ir::ElementType known = emit.graph().value(positions).type;
  const ir::ElementType type = known == ir::ElementType::undefined ? ir::ElementType::i64 : known;
  const ValueId first = emit.graph().add_constant(
      "first_row",
      ir::TensorData::from_bytes(type, {}, std::vector<std::byte>(ir::element_bits(type) / 8)));
  const ValueId condition = choice.inputs[0];
  const ValueId when_true = emit.op("Where", {condition, positions, first});
  const ValueId when_false = emit.op("Where", {condition, first, positions});
  const ValueId a = emit.op("Gather", {choice.inputs[1], when_true});
  const ValueId b = emit.op("Gather", {choice.inputs[2], when_false});
  return emit.op("Where", {condition, a, b});
}

[[noreturn]] void refuse(const ir::Graph& graph, const Node& choice) {
  const auto shape = [&](size_t input) {
    const auto& known = graph.value(choice.inputs[input]).shape;
    return known ? ir::shape_text(*known) : std::string("unknown shape");
  };
  throw Error(ExitCode::bad_input,
              "the model chooses between the tables " + shape(1) + " and " + shape(2) + " (\"" +
                  graph.value(choice.outputs[0]).name +
                  "\") and reads more than rows of them, which is unsupported; export it for one "
                  "length of context.");
}

}  // namespace

int expand_choices(Expansion& expansion) {
  ir::Graph& graph = expansion.graph;
  int count = 0;
  for (const NodeId id : graph.order()) {
    if (!graph.alive(id) || !graph.node(id).is("Choose", "pocket")) continue;
    const Node choice = graph.node(id);  // a copy: nodes are added
    for (const NodeId reader : graph.consumers(choice.outputs[0])) {
      const Node gather = graph.node(reader);
      if (!gather.is("Gather") || gather.integer("axis", 0) != 0 ||
          gather.inputs[0] != choice.outputs[0] || gather.inputs[1] == choice.outputs[0]) {
        refuse(graph, choice);
      }
      Emitter emit(expansion, gather);
      const ValueId rows = chosen_rows(emit, choice, gather.inputs[1]);
      graph.value(rows).type = graph.value(gather.outputs[0]).type;
      graph.value(rows).shape = graph.value(gather.outputs[0]).shape;
      graph.replace_uses(gather.outputs[0], rows);
      graph.erase(reader);
      ++count;
    }
    if (graph.is_output(choice.outputs[0])) refuse(graph, choice);
    graph.erase(id);
  }
  return count;
}

}  // namespace pocket::onnx_import
