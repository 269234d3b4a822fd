// The operators of a layer: embedding, norms, projections, attention, and the rows of the head.
#include "converter/lower/node_lowering.h"

namespace pocket {

using ir::kAbsent;
using ir::ValueId;

std::vector<WeightInput> NodeLowering::parts(size_t first, size_t count) const {
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

float NodeLowering::factor(size_t part) const {
  const auto given = node_.attributes.find("factors");
  if (given == node_.attributes.end()) return 1.0f;
  return std::get<std::vector<float>>(given->second).at(part);
}

bool NodeLowering::embed() {
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

bool NodeLowering::norm() {
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

bool NodeLowering::linear() {
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
std::string NodeLowering::linear_name() const {
  return node_.inputs.size() > 4 ? module_name(node_.name + "/") : module_;
}

bool NodeLowering::gated_linear() {
  const auto function = activation_of(node_.text("activation", "none"));
  if (!function) return false;
  const WeightId gate = builder_.matrix(parts(0, 1), module_ + ".gate.weight", WeightRole::matrix);
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

// rotary_kv writes the states, attention reads them.
bool NodeLowering::attention() {
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
  rotary.attributes.norm = node_.text("norm", "none") == "layer" ? NormKind::layer : NormKind::rms;
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

bool NodeLowering::select_rows() {
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

}  // namespace pocket
