#include "converter/lower/lower_node.h"

#include <array>
#include <cmath>
#include <optional>

namespace pocket {

namespace {

using ir::Graph;
using ir::kAbsent;
using ir::Node;
using ir::NodeId;
using ir::ValueId;

bool is_constant(const Graph& graph, ValueId value) {
  return value != kAbsent && graph.value(value).constant.has_value();
}

std::optional<float> scalar(const Graph& graph, ValueId value) {
  if (!is_constant(graph, value) || graph.value(value).constant->elements() != 1) {
    return std::nullopt;
  }
  return graph.value(value).constant->as_floats().front();
}

std::optional<int64_t> width_of(const Graph& graph, ValueId value) {
  const auto& shape = graph.value(value).shape;
  if (!shape || shape->empty() || !shape->back().is_constant()) return std::nullopt;
  return shape->back().constant();
}

// [1, tokens, width] or another shape of one row per token.
bool is_row_matrix(const Graph& graph, ValueId value) {
  const auto& shape = graph.value(value).shape;
  if (!width_of(graph, value)) return false;
  Expr rows(1);
  for (size_t i = 0; i + 1 < shape->size(); ++i) rows = rows * (*shape)[i];
  return rows == Expr::symbol("tokens");
}

bool same_shape(const Graph& graph, ValueId a, ValueId b) {
  return graph.value(a).shape && graph.value(a).shape == graph.value(b).shape;
}

std::optional<Activation> activation_of(const std::string& name) {
  static const std::array<std::pair<const char*, Activation>, 7> kNames = {{
      {"none", Activation::none},
      {"relu", Activation::relu},
      {"gelu_erf", Activation::gelu_erf},
      {"gelu_tanh", Activation::gelu_tanh},
      {"silu", Activation::silu},
      {"tanh", Activation::tanh},
      {"sigmoid", Activation::sigmoid},
  }};
  for (const auto& [known, activation] : kNames) {
    if (name == known) return activation;
  }
  return std::nullopt;
}

class NodeLowering {
 public:
  NodeLowering(const NodeContext& context, NodeId id, ProgramBuilder& builder)
      : context_(context),
        graph_(context.graph),
        node_(context.graph.node(id)),
        builder_(builder),
        in_head_(context.head.contains(id)),
        module_(module_name(node_.name)) {}

  bool run() {
    if (node_.outputs.empty() || !is_row_matrix(graph_, node_.outputs[0])) return false;
    if (node_.domain == "pocket") return run_pocket();
    if (node_.op == "Reshape" || node_.op == "Squeeze" || node_.op == "Unsqueeze" ||
        node_.op == "Flatten") {
      return view();
    }
    if (node_.op == "Add" || node_.op == "Mul") return combine();
    if (node_.op == "Div") return divide();
    return false;
  }

 private:
  bool run_pocket() {
    if (node_.op == "Embed") return embed();
    if (node_.op == "Norm") return norm();
    if (node_.op == "Linear") return linear();
    if (node_.op == "GatedLinear") return gated_linear();
    if (node_.op == "Activation") return activation();
    if (node_.op == "Attention") return attention();
    if (node_.op == "SelectRows") return select_rows();
    return false;
  }

  DType dtype_of(ValueId value) const {
    return context_.wide.contains(value) || value == context_.logits ? DType::f32 : DType::f16;
  }
  TensorId out(size_t index = 0) {
    return builder_.activation(node_.outputs[index], in_head_, dtype_of(node_.outputs[index]));
  }
  TensorId in(size_t index) const {
    return node_.inputs[index] == kAbsent ? kNone : builder_.find(node_.inputs[index]);
  }
  std::vector<WeightInput> parts(size_t first, size_t count) const {
    const std::vector<int64_t> transposed = node_.integers("transposed");
    const std::vector<int64_t> first_row = node_.integers("first_row");
    const std::vector<int64_t> rows = node_.integers("rows");
    std::vector<WeightInput> found;
    for (size_t i = first; i < first + count; ++i) {
      found.push_back({node_.inputs.at(i + 3), transposed.at(i) != 0, first_row.at(i), rows.at(i)});
    }
    return found;
  }

  bool embed() {
    const auto table = [&](size_t index, const char* suffix, WeightRole role) {
      const ValueId value = node_.inputs[index];
      if (value == kAbsent) return kNone;
      const int64_t rows = graph_.value(value).constant->shape[0];
      return builder_.matrix({{value, false, 0, rows}}, module_ + suffix, role);
    };
    const WeightId ids = table(1, ".weight", WeightRole::embedding);
    const WeightId positions = table(2, ".positions", WeightRole::positions);
    const TensorId result = out();
    Operator& op = builder_.add(OpKind::embed, node_.name);
    op.outputs = {result};
    op.weights = {ids, positions};
    op.attributes.scale = node_.real("scale", 1.0f);
    op.attributes.position_offset = node_.integer("position_offset", 0);
    return true;
  }

  bool norm() {
    const TensorId result = out();
    const TensorId sum = node_.outputs.size() > 1 ? out(1) : kNone;
    const std::string name = module_name(node_.name + "/");
    const WeightId weight = builder_.vector(node_.inputs[1], name + ".weight");
    const WeightId bias = builder_.vector(node_.inputs[2], name + ".bias");
    Operator& op = builder_.add(OpKind::norm, node_.name);
    op.inputs = {in(0), in(3)};
    op.outputs = {result, sum};
    op.weights = {weight, bias};
    op.attributes.norm = node_.text("kind", "rms") == "layer" ? NormKind::layer : NormKind::rms;
    op.attributes.epsilon = node_.real("epsilon", 1e-5f);
    return true;
  }

  bool linear() {
    const auto function = activation_of(node_.text("activation", "none"));
    if (!function) return false;
    const bool makes_logits = node_.outputs[0] == context_.logits;
    const WeightId weight =
        builder_.matrix(parts(0, node_.inputs.size() - 3), linear_name() + ".weight",
                        makes_logits ? WeightRole::head : WeightRole::matrix);
    const WeightId bias = builder_.vector(node_.inputs[1], linear_name() + ".bias");
    const TensorId result = out();
    Operator& op = builder_.add(OpKind::linear, node_.name);
    op.inputs = {in(0), in(2)};
    op.outputs = {result};
    op.weights = {weight, bias};
    op.attributes.activation = *function;
    return true;
  }

  // A merged Linear has no node of its own in the export, its name is already the module's.
  std::string linear_name() const {
    return node_.inputs.size() > 4 ? module_name(node_.name + "/") : module_;
  }

  bool gated_linear() {
    const auto function = activation_of(node_.text("activation", "none"));
    if (!function) return false;
    const WeightId gate =
        builder_.matrix(parts(0, 1), module_ + ".gate.weight", WeightRole::matrix);
    const WeightId up = builder_.matrix(parts(1, 1), module_ + ".up.weight", WeightRole::matrix);
    const WeightId gate_bias = builder_.vector(node_.inputs[1], module_ + ".gate.bias");
    const WeightId up_bias = builder_.vector(node_.inputs[2], module_ + ".up.bias");
    const TensorId result = out();
    Operator& op = builder_.add(OpKind::gated_linear, node_.name);
    op.inputs = {in(0)};
    op.outputs = {result};
    op.weights = {gate, up, gate_bias, up_bias};
    op.attributes.activation = *function;
    return true;
  }

  bool unary(size_t operand, float scale, Activation function) {
    const TensorId result = out();
    Operator& op = builder_.add(OpKind::unary, node_.name);
    op.inputs = {in(operand)};
    op.outputs = {result};
    op.attributes.scale = scale;
    op.attributes.activation = function;
    return true;
  }

  bool activation() {
    const auto function = activation_of(node_.text("function", "none"));
    return function && unary(0, 1.0f, *function);
  }

  // rotary_kv writes the states, attention reads them.
  bool attention() {
    const int64_t heads = node_.integer("heads", 0);
    const int64_t kv_heads = node_.integer("kv_heads", 0);
    const int64_t head_dim = node_.integer("head_dim", 0);
    const TensorId keys = builder_.state(node_.inputs[3], kv_heads, head_dim);
    const TensorId values = builder_.state(node_.inputs[4], kv_heads, head_dim);
    const TensorId queries =
        builder_.new_activation(node_.name + "/queries", in_head_, DType::f16, heads * head_dim);
    const TensorId result = out();
    Attributes attributes;
    attributes.heads = static_cast<int32_t>(heads);
    attributes.kv_heads = static_cast<int32_t>(kv_heads);
    attributes.head_dim = static_cast<int32_t>(head_dim);
    attributes.scale = node_.real("scale", 1.0f);

    Operator& rotary = builder_.add(OpKind::rotary_kv, node_.name + "/rotary_kv");
    rotary.inputs = {in(0), in(1), in(2), keys, values};
    rotary.outputs = {queries};
    rotary.attributes = attributes;
    rotary.attributes.scale = 1.0f;
    rotary.attributes.q_column = static_cast<int32_t>(node_.integer("q_column", 0));
    rotary.attributes.k_column = static_cast<int32_t>(node_.integer("k_column", 0));
    rotary.attributes.v_column = static_cast<int32_t>(node_.integer("v_column", 0));
    rotary.attributes.rotary_dim = static_cast<int32_t>(node_.integer("rotary_dim", 0));
    rotary.attributes.interleaved = node_.integer("interleaved", 0) != 0;
    if (rotary.attributes.rotary_dim > 0) {
      const auto scale = static_cast<double>(node_.real("rotary_scale", 1.0f));
      rotary.attributes.rope_table = builder_.rope_table(node_.inputs[5], scale);
    }
    Operator& attend = builder_.add(OpKind::attention, node_.name + "/attention");
    attend.inputs = {queries, keys, values};
    attend.outputs = {result};
    attend.attributes = attributes;
    return true;
  }

  bool select_rows() {
    Program& program = builder_.lowered.program;
    const TensorId hidden = in(0);
    if (hidden == kNone) return true;  // what should have made it is reported
    program.hidden = hidden;
    const DType dtype = program.tensors[static_cast<size_t>(hidden)].dtype;
    const TensorId result = builder_.activation(node_.outputs[0], true, dtype);
    Operator& op = builder_.add(OpKind::select_rows, node_.name);
    op.inputs = {hidden};
    op.outputs = {result};
    return true;
  }

  bool view() {
    if (width_of(graph_, node_.inputs[0]) != width_of(graph_, node_.outputs[0])) return false;
    builder_.alias(node_.outputs[0], node_.inputs[0]);
    return true;
  }

  // a + b or a * b of two activations, or of one and a constant vector or scalar.
  bool combine() {
    const bool product = node_.op == "Mul";
    const size_t constant_side = is_constant(graph_, node_.inputs[1]) ? 1 : 0;
    const ValueId constant = node_.inputs[constant_side];
    if (!is_constant(graph_, constant)) {
      return same_shape(graph_, node_.inputs[0], node_.inputs[1]) && binary(0, in(1), kNone);
    }
    const size_t other = 1 - constant_side;
    if (const auto number = scalar(graph_, constant)) {
      return product && unary(other, *number, Activation::none);
    }
    const auto width = width_of(graph_, node_.inputs[other]);
    const ir::TensorData& data = *graph_.value(constant).constant;
    if (!width || data.shape.empty() || data.shape.back() != *width || data.elements() != *width) {
      return false;
    }
    return binary(other, kNone,
                  builder_.vector(constant, module_ + (product ? ".scale" : ".bias")));
  }

  bool binary(size_t first, TensorId second, WeightId weight) {
    const TensorId result = out();
    Operator& op = builder_.add(OpKind::binary, node_.name);
    op.inputs = {in(first), second};
    op.outputs = {result};
    op.weights = {weight};
    op.attributes.binary = node_.op == "Mul" ? BinaryKind::mul : BinaryKind::add;
    return true;
  }

  bool divide() {
    const auto number = scalar(graph_, node_.inputs[1]);
    return number && *number != 0.0f && unary(0, 1.0f / *number, Activation::none);
  }

  const NodeContext& context_;
  const Graph& graph_;
  const Node& node_;
  ProgramBuilder& builder_;
  const bool in_head_;
  const std::string module_;
};

}  // namespace

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
