// Before: x -> Linear W -> Mul s -> y
// After:  x -> Linear {s W, s bias} -> y
//     or, when W is read elsewhere too (a tied head):
//         x -> Norm {s weight, s bias} -> Linear {W, s bias} -> y
// Residual, logit and other multipliers cost nothing this way. W itself is not touched: its rows
// are multiplied when they are read.
#include "converter/passes/match.h"
#include "converter/passes/rewrites.h"

namespace pocket {

using ir::Graph;
using ir::kAbsent;
using ir::Node;
using ir::NodeId;
using ir::ValueId;

namespace {

// A product or quotient with a scalar: what is multiplied and by how much.
std::optional<ScalarOperand> scaled(const Graph& graph, const Node& node) {
  if (!has_shape(graph, node.outputs.empty() ? kAbsent : node.outputs[0])) return std::nullopt;
  std::optional<ScalarOperand> found;
  if (node.is("Mul")) found = with_scalar(graph, node);
  if (node.is("Div")) {
    const auto divisor = scalar(graph, node.inputs[1]);
    if (divisor && *divisor != 0.0) found = ScalarOperand{node.inputs[0], 1.0 / *divisor};
  }
  if (!found || !same_shape(graph, found->other, node.outputs[0])) return std::nullopt;
  return found;
}

void scale_constant(Graph& graph, ValueId& constant, double factor, const std::string& name) {
  if (constant == kAbsent) return;
  const ir::TensorData& data = *graph.value(constant).constant;
  std::vector<float> values = data.as_floats();
  for (float& value : values) value = static_cast<float>(static_cast<double>(value) * factor);
  constant = graph.add_constant(name, ir::TensorData::from_floats(data.shape, std::move(values)));
}

bool reads_own_weights(const Graph& graph, const Node& linear) {
  for (size_t i = 3; i < linear.inputs.size(); ++i) {
    for (const NodeId reader : graph.consumers(linear.inputs[i])) {
      if (&graph.node(reader) != &linear) return false;
    }
  }
  return true;
}

// The norm that alone feeds a Linear.
Node* norm_before(Graph& graph, const Node& linear) {
  const ValueId x = linear.inputs[0];
  const Node* norm = made_by(graph, x, "Norm", "pocket");
  if (norm == nullptr || !used_once(graph, x)) return nullptr;
  return &graph.node(graph.value(x).producer);
}

bool fold(Graph& graph, Node& linear, double factor) {
  const std::string name = linear.name;
  if (reads_own_weights(graph, linear)) {
    std::vector<float> factors;
    for (size_t part = 0; part + 3 < linear.inputs.size(); ++part) {
      factors.push_back(weight_factor(linear, part) * static_cast<float>(factor));
    }
    linear.attributes["factors"] = factors;
  } else {
    Node* norm = norm_before(graph, linear);
    const auto width = norm == nullptr ? std::nullopt : last_dim(graph, norm->outputs[0]);
    if (!width) return false;
    if (norm->inputs[1] == kAbsent) {
      norm->inputs[1] = graph.add_constant(
          name + ".ones", ir::TensorData::from_floats(
                              {*width}, std::vector<float>(static_cast<size_t>(*width), 1.0f)));
    }
    scale_constant(graph, norm->inputs[1], factor, norm->name + ".weight_scaled");
    scale_constant(graph, norm->inputs[2], factor, norm->name + ".bias_scaled");
  }
  scale_constant(graph, linear.inputs[1], factor, name + ".bias_scaled");
  return true;
}

}  // namespace

int fold_scale(PassContext& context) {
  Graph& graph = context.graph;
  int hits = 0;
  for (const NodeId id : graph.order()) {
    if (!graph.alive(id)) continue;
    const auto product = scaled(graph, graph.node(id));
    if (!product || !used_once(graph, product->other)) continue;
    const Node* linear = made_by(graph, product->other, "Linear", "pocket");
    if (linear == nullptr || linear->inputs[2] != kAbsent ||
        linear->text("activation", "none") != "none") {
      continue;
    }
    Node& changed = graph.node(graph.value(product->other).producer);
    if (!fold(graph, changed, product->value)) continue;
    graph.replace_uses(graph.node(id).outputs[0], product->other);
    graph.remove_dead();
    ++hits;
  }
  return hits;
}

}  // namespace pocket
