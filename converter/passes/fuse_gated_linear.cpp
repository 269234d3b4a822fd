// Before: x -> Linear gate -> Activation -+
//         x -> Linear up -----------------+-> Mul -> y
//     or  x -> Linear [gate; up] -> Split, then the same
// After:  x -> pocket.GatedLinear {activation} -> y
#include "converter/passes/match.h"
#include "converter/passes/rewrites.h"

namespace pocket {

using ir::Graph;
using ir::kAbsent;
using ir::Node;
using ir::NodeId;
using ir::ValueId;

namespace {

// Rows of one weight constant, and the bias that belongs to them.
struct Half {
  ValueId x = kAbsent, weight = kAbsent, bias = kAbsent;
  int64_t transposed = 0, first_row = 0, rows = 0;
  float factor = 1.0f;
};

// A value that is a Linear, or a slice of the last axis of one; of one weight part.
std::optional<Half> linear_half(const Graph& graph, ValueId value) {
  ValueId whole = value;
  int64_t first = 0;
  const auto width = last_dim(graph, value);
  if (!width) return std::nullopt;
  if (const auto part = slice_view(graph, value)) {
    if (part->axis + 1 != rank(graph, part->base)) return std::nullopt;
    whole = part->base;
    first = part->first;
  } else if (!used_once(graph, value)) {
    return std::nullopt;
  }
  const Node* linear = made_by(graph, whole, "Linear", "pocket");
  if (linear == nullptr || linear->inputs.size() != 4 || linear->inputs[2] != kAbsent ||
      linear->text("activation", "none") != "none") {
    return std::nullopt;
  }
  if (whole != value && linear->inputs[1] != kAbsent) return std::nullopt;
  return Half{linear->inputs[0],
              linear->inputs[3],
              linear->inputs[1],
              linear->integers("transposed").front(),
              linear->integers("first_row").front() + first,
              *width,
              weight_factor(*linear, 0)};
}

struct GatedMatch {
  Half gate, up;
  std::string activation;
};
std::optional<GatedMatch> match_gated(const Graph& graph, const Node& node) {
  if (!node.is("Mul") || node.inputs[0] == node.inputs[1] || !has_shape(graph, node.outputs[0])) {
    return std::nullopt;
  }
  for (const size_t side : {size_t{0}, size_t{1}}) {
    const Node* activation = made_by(graph, node.inputs[side], "Activation", "pocket");
    if (activation == nullptr || !used_once(graph, node.inputs[side])) continue;
    const auto gate = linear_half(graph, activation->inputs[0]);
    const auto up = linear_half(graph, node.inputs[1 - side]);
    if (!gate || !up || gate->x != up->x || gate->rows != up->rows) continue;
    return GatedMatch{*gate, *up, activation->text("function", "none")};
  }
  return std::nullopt;
}

}  // namespace

int fuse_gated_linear(PassContext& context) {
  Graph& graph = context.graph;
  int hits = 0;
  for (const NodeId id : graph.order()) {
    if (!graph.alive(id)) continue;
    const auto match = match_gated(graph, graph.node(id));
    if (!match) continue;
    const Half& gate = match->gate;
    const Half& up = match->up;
    Node gated;
    gated.name = graph.node(id).name;
    gated.op = "GatedLinear";
    gated.inputs = {gate.x, gate.bias, up.bias, gate.weight, up.weight};
    gated.attributes = {{"transposed", std::vector<int64_t>{gate.transposed, up.transposed}},
                        {"first_row", std::vector<int64_t>{gate.first_row, up.first_row}},
                        {"rows", std::vector<int64_t>{gate.rows, up.rows}},
                        {"factors", std::vector<float>{gate.factor, up.factor}},
                        {"activation", match->activation}};
    const ValueId out = graph.node(id).outputs[0];
    const std::vector<Expr> shape = *graph.value(out).shape;
    graph.replace_uses(out, emit(graph, std::move(gated), shape));
    graph.remove_dead();
    ++hits;
  }
  return hits;
}

}  // namespace pocket
