#include "converter/lower/lower_node.h"

#include <algorithm>
#include <optional>

#include "converter/lower/node_lowering.h"

namespace pocket {

using ir::Graph;
using ir::kAbsent;
using ir::Node;
using ir::NodeId;
using ir::ValueId;

namespace {

// [1, tokens, width] or another shape of one row per token.
bool is_row_matrix(const Graph& graph, ValueId value) {
  const auto& shape = graph.value(value).shape;
  if (!width_of(graph, value)) return false;
  Expr rows(1);
  for (size_t i = 0; i + 1 < shape->size(); ++i) rows = rows * (*shape)[i];
  return rows == Expr::symbol("tokens");
}

}  // namespace

std::optional<int64_t> width_of(const Graph& graph, ValueId value) {
  const auto& shape = graph.value(value).shape;
  if (!shape || shape->empty() || !shape->back().is_constant()) return std::nullopt;
  return shape->back().constant();
}

NodeLowering::NodeLowering(const NodeContext& context, NodeId id, ProgramBuilder& builder)
    : context_(context),
      graph_(context.graph),
      node_(context.graph.node(id)),
      builder_(builder),
      in_head_(context.head.contains(id)),
      module_(module_name(node_.name)) {}

bool NodeLowering::run() {
  if (node_.outputs.empty() || !is_row_matrix(graph_, node_.outputs[0])) return false;
  if (node_.domain == "pocket") return run_pocket();
  if (node_.op == "Reshape" || node_.op == "Squeeze" || node_.op == "Unsqueeze" ||
      node_.op == "Flatten") {
    return view();
  }
  return node_.domain.empty() && reads_rows() && elementwise();
}

bool NodeLowering::reads_rows() const {
  return std::all_of(node_.inputs.begin(), node_.inputs.end(), [this](ValueId input) {
    return input == kAbsent || is_constant(graph_, input) ||
           (is_row_matrix(graph_, input) && builder_.find(input) != kNone);
  });
}

bool NodeLowering::run_pocket() {
  if (node_.op == "Embed") return embed();
  if (node_.op == "Norm") return norm();
  if (node_.op == "Linear") return linear();
  if (node_.op == "GatedLinear") return gated_linear();
  if (node_.op == "Activation") return activation();
  if (node_.op == "Attention") return attention();
  if (node_.op == "SelectRows") return select_rows();
  return false;
}

DType NodeLowering::dtype_of(ValueId value) const {
  return context_.wide.contains(value) || value == context_.logits ? DType::f32 : DType::f16;
}

TensorId NodeLowering::out(size_t index) {
  return builder_.activation(node_.outputs[index], in_head_, dtype_of(node_.outputs[index]));
}

TensorId NodeLowering::in(size_t index) const {
  return node_.inputs[index] == kAbsent ? kNone : builder_.find(node_.inputs[index]);
}

std::vector<ValueId> runtime_operands(const Graph& graph, const Node& node) {
  std::vector<ValueId> operands;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const ValueId input = node.inputs[i];
    if (input == kAbsent || is_constant(graph, input)) continue;
    if (node.is("Embed", "pocket")) continue;                // ids and positions
    if (node.is("Attention", "pocket") && i >= 3) continue;  // states
    // The target of a view is known from its result.
    if (node.domain.empty() && i > 0 && graph.value(input).elements) continue;
    operands.push_back(input);
  }
  return operands;
}

std::set<ValueId> residual_values(const Graph& graph) {
  std::set<ValueId> wide;
  const auto add = [&](ValueId value) {
    if (value != kAbsent && !is_constant(graph, value)) wide.insert(value);
  };
  for (const NodeId id : graph.order()) {
    const Node& node = graph.node(id);
    if (node.is("Embed", "pocket")) add(node.outputs[0]);
    if (node.is("Linear", "pocket") && node.inputs[2] != kAbsent) {
      add(node.inputs[2]);
      add(node.outputs[0]);
    }
    if (node.is("Norm", "pocket") && node.inputs[3] != kAbsent) {
      add(node.inputs[0]);
      add(node.inputs[3]);
      if (node.outputs.size() > 1) add(node.outputs[1]);
    }
    if (node.is("Add") && !is_constant(graph, node.inputs[0]) &&
        !is_constant(graph, node.inputs[1])) {
      add(node.inputs[0]);
      add(node.inputs[1]);
      add(node.outputs[0]);
    }
  }
  // The stream with a constant added or multiplied is still the stream.
  for (const NodeId id : graph.order()) {
    const Node& node = graph.node(id);
    if (!node.domain.empty() || !combination_of(node.op) || node.inputs.size() != 2) continue;
    for (const size_t side : {size_t{0}, size_t{1}}) {
      if (wide.contains(node.inputs[side]) && is_constant(graph, node.inputs[1 - side])) {
        add(node.outputs[0]);
      }
    }
  }
  // A view has the bytes of what it views.
  for (const NodeId id : graph.order()) {
    const Node& node = graph.node(id);
    if (node.is("Reshape") && wide.contains(node.outputs[0])) add(node.inputs[0]);
  }
  return wide;
}

bool lower_node(const NodeContext& context, NodeId id, ProgramBuilder& builder) {
  return NodeLowering(context, id, builder).run();
}

}  // namespace pocket
