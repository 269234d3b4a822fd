// Before (rms):   x -> Pow 2 -> ReduceMean last -> Add epsilon -> Sqrt -> Div | Reciprocal -+
//                 x ----------------------------------------------> Mul | Div --------------+-> n
//                 n -> Mul weight
//                 (an exporter's optimiser drops an Add of an epsilon that it takes for zero)
// Before (layer): x -> Sub (ReduceMean x) -> the same -> Mul weight -> Add bias
// Before (operator): LayerNormalization | SimplifiedLayerNormalization | RMSNormalization, which
//                 make a layer norm too where x is Sub (ReduceMean x)
// After:          x -> pocket.Norm {weight, bias; kind, epsilon}
//                 -> Mul weight -> Add bias where heads have weights of their own: [heads, width]
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

struct NormMatch {
  ValueId x = kAbsent, weight = kAbsent, bias = kAbsent, out = kAbsent;
  ValueId wide_weight = kAbsent, wide_bias = kAbsent;  // of more dimensions than the norm has
  std::string kind;
  float epsilon = 0;
};

// mean(v) over the last axis, dimension kept; returns v.
ValueId mean_of(const Graph& graph, ValueId value) {
  const Node* mean = made_by(graph, value, "ReduceMean");
  if (mean == nullptr || mean->integer("keepdims", 1) != 1) return kAbsent;
  const auto axis = single_axis(graph, *mean, "axes");
  if (!axis || *axis + 1 != rank(graph, mean->inputs[0])) return kAbsent;
  return mean->inputs[0];
}

ValueId square_of(const Graph& graph, ValueId value) {
  if (const Node* power = made_by(graph, value, "Pow")) {
    return is_scalar_equal(graph, power->inputs[1], 2.0) ? power->inputs[0] : kAbsent;
  }
  if (const Node* product = made_by(graph, value, "Mul")) {
    return product->inputs[0] == product->inputs[1] ? product->inputs[0] : kAbsent;
  }
  return kAbsent;
}

struct RootMeanSquare {
  ValueId x = kAbsent;
  float epsilon = 0;
};

// sqrt(mean(x^2) + epsilon) or sqrt(mean(x^2))
std::optional<RootMeanSquare> root_mean_square(const Graph& graph, ValueId value) {
  const Node* root = made_by(graph, value, "Sqrt");
  if (root == nullptr) return std::nullopt;
  ValueId mean = root->inputs[0];
  float epsilon = 0;
  if (const Node* sum = made_by(graph, mean, "Add")) {
    const auto split = with_scalar(graph, *sum);
    if (!split) return std::nullopt;
    mean = split->other;
    epsilon = static_cast<float>(split->value);
  }
  const ValueId squared = mean_of(graph, mean);
  if (squared == kAbsent) return std::nullopt;
  const ValueId x = square_of(graph, squared);
  if (x == kAbsent) return std::nullopt;
  return RootMeanSquare{x, epsilon};
}

// 1 / sqrt(mean(x^2) + epsilon)
std::optional<RootMeanSquare> inverse_root(const Graph& graph, ValueId value) {
  if (const Node* quotient = made_by(graph, value, "Div")) {
    if (!is_scalar_equal(graph, quotient->inputs[0], 1.0)) return std::nullopt;
    return root_mean_square(graph, quotient->inputs[1]);
  }
  if (const Node* inverse = made_by(graph, value, "Reciprocal")) {
    return root_mean_square(graph, inverse->inputs[0]);
  }
  return std::nullopt;
}

// A centred x makes an rms norm a layer norm.
void take_centred(const Graph& graph, NormMatch& match) {
  const Node* centred = made_by(graph, match.x, "Sub");
  if (centred == nullptr || mean_of(graph, centred->inputs[1]) != centred->inputs[0]) return;
  match.x = centred->inputs[0];
  match.kind = "layer";
}

// x * inverse or x / root: the normalised value before weight and bias.
std::optional<NormMatch> normalised(const Graph& graph, const Node& node) {
  std::optional<RootMeanSquare> found;
  if (node.is("Div")) {
    found = root_mean_square(graph, node.inputs[1]);
    if (!found || found->x != node.inputs[0]) return std::nullopt;
  } else if (node.is("Mul")) {
    for (const size_t side : {size_t{0}, size_t{1}}) {
      found = inverse_root(graph, node.inputs[side]);
      if (found && found->x == node.inputs[1 - side]) break;
      found.reset();
    }
  }
  if (!found) return std::nullopt;
  NormMatch match;
  match.x = found->x;
  match.epsilon = found->epsilon;
  match.kind = "rms";
  match.out = node.outputs[0];
  take_centred(graph, match);
  return match;
}

// The constant vector that the only reader of `value` combines it with.
struct VectorStep {
  ValueId vector = kAbsent, out = kAbsent;
};
std::optional<VectorStep> vector_step(const Graph& graph, ValueId value, const char* op) {
  const NodeId reader = only_reader(graph, value);
  const auto width = last_dim(graph, value);
  if (reader == kAbsent || !width) return std::nullopt;
  const Node& node = graph.node(reader);
  if (!node.is(op) || node.inputs.size() != 2) return std::nullopt;
  const ValueId vector = node.inputs[0] == value ? node.inputs[1] : node.inputs[0];
  if (!is_vector_constant(graph, vector, *width)) return std::nullopt;
  if (!same_shape(graph, value, node.outputs[0])) return std::nullopt;
  return VectorStep{vector, node.outputs[0]};
}

std::optional<NormMatch> decomposed(const Graph& graph, const Node& node) {
  auto match = normalised(graph, node);
  if (!match || !has_shape(graph, match->out)) return std::nullopt;
  if (const auto scaled = vector_step(graph, match->out, "Mul")) {
    match->weight = scaled->vector;
    match->out = scaled->out;
    if (const auto shifted = vector_step(graph, match->out, "Add")) {
      match->bias = shifted->vector;
      match->out = shifted->out;
    }
  }
  return match;
}

// A constant that broadcasts to `value` without making it larger.
bool is_broadcast_constant(const Graph& graph, ValueId constant, ValueId value) {
  if (!is_constant(graph, constant) || !has_shape(graph, value)) return false;
  const std::vector<int64_t>& own = graph.value(constant).constant->shape;
  const std::vector<Expr>& shape = *graph.value(value).shape;
  if (own.size() > shape.size()) return false;
  const size_t shift = shape.size() - own.size();
  for (size_t d = 0; d < own.size(); ++d) {
    if (own[d] != 1 && !(shape[shift + d] == Expr(own[d]))) return false;
  }
  return true;
}

std::optional<NormMatch> single_operator(const Graph& graph, const Node& node) {
  const bool layer = node.is("LayerNormalization");
  const bool rms = node.is("SimplifiedLayerNormalization") || node.is("RMSNormalization") ||
                   node.is("SimplifiedLayerNormalization", "com.microsoft");
  if (!layer && !rms) return std::nullopt;
  const auto dims = static_cast<int64_t>(rank(graph, node.inputs[0]));
  const auto width = last_dim(graph, node.inputs[0]);
  const int64_t axis = node.integer("axis", -1);
  if (!width || (axis != -1 && axis != dims - 1)) return std::nullopt;
  for (size_t extra = 1; extra < node.outputs.size(); ++extra) {
    if (node.outputs[extra] != kAbsent && use_count(graph, node.outputs[extra]) > 0) {
      return std::nullopt;
    }
  }
  NormMatch match;
  match.x = node.inputs[0];
  match.weight = node.inputs.size() > 1 ? node.inputs[1] : kAbsent;
  match.bias = node.inputs.size() > 2 ? node.inputs[2] : kAbsent;
  bool wide = false;
  for (const ValueId vector : {match.weight, match.bias}) {
    if (vector == kAbsent || is_vector_constant(graph, vector, *width)) continue;
    if (!is_broadcast_constant(graph, vector, match.x)) return std::nullopt;
    wide = true;
  }
  if (wide) {
    std::swap(match.weight, match.wide_weight);
    std::swap(match.bias, match.wide_bias);
  }
  match.out = node.outputs[0];
  match.kind = layer ? "layer" : "rms";
  match.epsilon = node.real("epsilon", 1e-5f);
  if (rms) take_centred(graph, match);
  return match;
}

// Exporters write zeros where a norm has no bias.
bool adds_nothing(const Graph& graph, ValueId bias) {
  if (bias == kAbsent) return true;
  const std::vector<float> values = graph.value(bias).constant->as_floats();
  return std::all_of(values.begin(), values.end(), [](float x) { return x == 0.0f; });
}

// x combined with a constant, under the shape of x.
ValueId emit_combined(Graph& graph, const std::string& name, const char* op, ValueId x,
                      ValueId constant) {
  Node node;
  node.name = name;
  node.op = op;
  node.inputs = {x, constant};
  const ValueId out = graph.add_output(graph.add_node(std::move(node)), name, ir::ElementType::f32);
  graph.value(out).shape = graph.value(x).shape;
  return out;
}

}  // namespace

int fuse_norm(PassContext& context) {
  Graph& graph = context.graph;
  int hits = 0;
  for (const NodeId id : graph.order()) {
    const Node& node = graph.node(id);
    auto match = single_operator(graph, node);
    if (!match) match = decomposed(graph, node);
    if (!match || !has_shape(graph, match->x)) continue;
    Node norm;
    norm.name = scope_of(node.name);
    norm.op = "Norm";
    const ValueId bias = adds_nothing(graph, match->bias) ? kAbsent : match->bias;
    norm.inputs = {match->x, match->weight, bias, kAbsent};
    norm.attributes = {{"kind", match->kind}, {"epsilon", match->epsilon}};
    const std::string name = norm.name;
    ValueId y = emit(graph, std::move(norm), *graph.value(match->x).shape);
    if (match->wide_weight != kAbsent) {
      y = emit_combined(graph, name + "/weights", "Mul", y, match->wide_weight);
    }
    if (!adds_nothing(graph, match->wide_bias)) {
      y = emit_combined(graph, name + "/biases", "Add", y, match->wide_bias);
    }
    graph.replace_uses(match->out, y);
    ++hits;
  }
  return hits;
}

}  // namespace pocket
