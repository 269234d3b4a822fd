#include "converter/lower/lower_node.h"

#include <algorithm>
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
  for (int i = 0; i <= static_cast<int>(kLastActivation); ++i) {
    const auto activation = static_cast<Activation>(i);
    if (name == activation_name(activation)) return activation;
  }
  return std::nullopt;
}

// Operators of the exchange format that compute one element from one.
std::optional<Activation> function_of(const std::string& op) {
  static const std::array<std::pair<const char*, Activation>, 11> kOperators = {{
      {"Relu", Activation::relu},
      {"Tanh", Activation::tanh},
      {"Sigmoid", Activation::sigmoid},
      {"Exp", Activation::exp},
      {"Log", Activation::log},
      {"Sqrt", Activation::sqrt},
      {"Neg", Activation::neg},
      {"Abs", Activation::abs},
      {"Softplus", Activation::softplus},
      {"Reciprocal", Activation::reciprocal},
      {"Erf", Activation::erf},
  }};
  for (const auto& [known, activation] : kOperators) {
    if (op == known) return activation;
  }
  return std::nullopt;
}

std::optional<BinaryKind> combination_of(const std::string& op) {
  if (op == "Add") return BinaryKind::add;
  if (op == "Mul") return BinaryKind::mul;
  if (op == "Sub") return BinaryKind::sub;
  if (op == "Div") return BinaryKind::div;
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
    if (!node_.domain.empty() || !reads_rows()) return false;
    if (const auto kind = combination_of(node_.op)) return combine(*kind);
    const auto function = function_of(node_.op);
    return function && unary(0, 1.0f, *function);
  }

 private:
  // The first operand lies in rows as the result does.
  bool reads_rows() const {
    return std::all_of(node_.inputs.begin(), node_.inputs.end(), [this](ValueId input) {
      return input == kAbsent || is_constant(graph_, input) ||
             (is_row_matrix(graph_, input) && builder_.find(input) != kNone);
    });
  }

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
      found.push_back(
          {node_.inputs.at(i + 3), transposed.at(i) != 0, first_row.at(i), rows.at(i), factor(i)});
    }
    return found;
  }

  float factor(size_t part) const {
    const auto given = node_.attributes.find("factors");
    if (given == node_.attributes.end()) return 1.0f;
    return std::get<std::vector<float>>(given->second).at(part);
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

    const std::string name = module_name(node_.name + "/");
    const WeightId slopes = builder_.vector(node_.inputs.at(7), name + ".slopes");
    const WeightId q_norm = builder_.vector(node_.inputs.at(8), name + ".q_norm");
    const WeightId k_norm = builder_.vector(node_.inputs.at(9), name + ".k_norm");
    int32_t table = kNone;
    if (node_.integer("rotary_dim", 0) > 0) table = builder_.rope_table(node_, name + ".angles");

    Operator& rotary = builder_.add(OpKind::rotary_kv, node_.name + "/rotary_kv");
    rotary.inputs = {in(0), in(1), in(2), keys, values};
    rotary.outputs = {queries};
    rotary.weights = {q_norm, k_norm};
    rotary.attributes = attributes;
    rotary.attributes.scale = 1.0f;
    rotary.attributes.q_column = static_cast<int32_t>(node_.integer("q_column", 0));
    rotary.attributes.k_column = static_cast<int32_t>(node_.integer("k_column", 0));
    rotary.attributes.v_column = static_cast<int32_t>(node_.integer("v_column", 0));
    rotary.attributes.rotary_dim = static_cast<int32_t>(node_.integer("rotary_dim", 0));
    rotary.attributes.interleaved = node_.integer("interleaved", 0) != 0;
    rotary.attributes.rope_table = table;
    rotary.attributes.norm =
        node_.text("norm", "none") == "layer" ? NormKind::layer : NormKind::rms;
    if (q_norm != kNone || k_norm != kNone) {
      rotary.attributes.epsilon = node_.real("epsilon", 1e-5f);
    }
    Operator& attend = builder_.add(OpKind::attention, node_.name + "/attention");
    attend.inputs = {queries, keys, values};
    attend.outputs = {result};
    attend.weights = {slopes};
    attend.attributes = attributes;
    attend.attributes.window = static_cast<int32_t>(node_.integer("window", 0));
    attend.attributes.soft_cap = node_.real("soft_cap", 0.0f);
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

  // Of two activations, or of one and a constant vector or scalar.
  bool combine(BinaryKind kind) {
    const size_t constant_side = is_constant(graph_, node_.inputs[1]) ? 1 : 0;
    const ValueId constant = node_.inputs[constant_side];
    if (!is_constant(graph_, constant)) {
      return same_shape(graph_, node_.inputs[0], node_.inputs[1]) && binary(kind, 0, in(1), kNone);
    }
    const size_t other = 1 - constant_side;
    const bool ordered = kind == BinaryKind::sub || kind == BinaryKind::div;
    if (is_constant(graph_, node_.inputs[other]) || (ordered && constant_side == 0)) return false;
    if (const auto number = scalar(graph_, constant)) {
      const float factor = kind == BinaryKind::div ? 1.0f / *number : *number;
      const bool product = kind == BinaryKind::mul || kind == BinaryKind::div;
      return product && std::isfinite(factor) && unary(other, factor, Activation::none);
    }
    const auto width = width_of(graph_, node_.inputs[other]);
    const ir::TensorData& data = *graph_.value(constant).constant;
    if (!width || data.shape.empty() || data.shape.back() != *width || data.elements() != *width) {
      return false;
    }
    const bool scales = kind == BinaryKind::mul || kind == BinaryKind::div;
    return binary(kind, other, kNone,
                  builder_.vector(constant, module_ + (scales ? ".scale" : ".bias")));
  }

  bool binary(BinaryKind kind, size_t first, TensorId second, WeightId weight) {
    const TensorId result = out();
    Operator& op = builder_.add(OpKind::binary, node_.name);
    op.inputs = {in(first), second};
    op.outputs = {result};
    op.weights = {weight};
    op.attributes.binary = kind;
    return true;
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
