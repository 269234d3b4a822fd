#include "runtime/program/json.h"

#include <algorithm>

#include "runtime/program/json_generic.h"
#include "runtime/program/json_view.h"

namespace pocket {
namespace {

using nlohmann::json;

json attributes_to_json(const Attributes& a) {
  const Attributes fresh;
  json out = json::object();
  if (a.scale != fresh.scale) out["scale"] = a.scale;
  if (a.position_offset != 0) out["position_offset"] = a.position_offset;
  if (a.norm != fresh.norm) out["norm"] = norm_kind_name(a.norm);
  if (a.epsilon != fresh.epsilon) out["epsilon"] = a.epsilon;
  if (a.activation != fresh.activation) out["activation"] = activation_name(a.activation);
  if (a.binary != fresh.binary) out["binary"] = binary_kind_name(a.binary);
  if (a.heads != 0) out["heads"] = a.heads;
  if (a.kv_heads != 0) out["kv_heads"] = a.kv_heads;
  if (a.head_dim != 0) out["head_dim"] = a.head_dim;
  if (a.rotary_dim != 0) out["rotary_dim"] = a.rotary_dim;
  if (a.interleaved) out["interleaved"] = true;
  if (a.rope_table != kNone) out["rope_table"] = a.rope_table;
  if (a.q_column != 0) out["q_column"] = a.q_column;
  if (a.k_column != 0) out["k_column"] = a.k_column;
  if (a.v_column != 0) out["v_column"] = a.v_column;
  if (a.window != 0) out["window"] = a.window;
  if (a.soft_cap != 0.0f) out["soft_cap"] = a.soft_cap;
  return out;
}

Attributes attributes_from_json(const JsonView& in) {
  in.keys({"scale", "position_offset", "norm", "epsilon", "activation", "binary", "heads",
           "kv_heads", "head_dim", "rotary_dim", "interleaved", "rope_table", "q_column",
           "k_column", "v_column", "window", "soft_cap"});
  Attributes a;
  if (in.has("scale")) a.scale = in["scale"].real32();
  if (in.has("position_offset")) a.position_offset = in["position_offset"].integer32();
  if (in.has("norm")) a.norm = in["norm"].one_of(norm_kind_name, NormKind::layer);
  if (in.has("epsilon")) a.epsilon = in["epsilon"].real32();
  if (in.has("activation")) {
    a.activation = in["activation"].one_of(activation_name, kLastActivation);
  }
  if (in.has("binary")) a.binary = in["binary"].one_of(binary_kind_name, BinaryKind::div);
  if (in.has("heads")) a.heads = in["heads"].integer32();
  if (in.has("kv_heads")) a.kv_heads = in["kv_heads"].integer32();
  if (in.has("head_dim")) a.head_dim = in["head_dim"].integer32();
  if (in.has("rotary_dim")) a.rotary_dim = in["rotary_dim"].integer32();
  if (in.has("interleaved")) a.interleaved = in["interleaved"].boolean();
  if (in.has("rope_table")) a.rope_table = in["rope_table"].integer32(0);
  if (in.has("q_column")) a.q_column = in["q_column"].integer32(0);
  if (in.has("k_column")) a.k_column = in["k_column"].integer32(0);
  if (in.has("v_column")) a.v_column = in["v_column"].integer32(0);
  if (in.has("window")) a.window = in["window"].integer32(0);
  if (in.has("soft_cap")) a.soft_cap = in["soft_cap"].real32();
  return a;
}

json rope_table_to_json(const RopeTable& table) {
  json out = {{"inv_freq", table.inv_freq}, {"scale", table.scale}};
  if (!table.long_inv_freq.empty()) {
    out["long_inv_freq"] = table.long_inv_freq;
    out["long_scale"] = table.long_scale;
    out["long_from"] = table.long_from;
  }
  if (table.values != kNone) {
    out["values"] = table.values;
    out["values_half"] = table.values_half;
  }
  return out;
}

RopeTable rope_table_from_json(const JsonView& in) {
  in.keys(
      {"inv_freq", "scale", "long_inv_freq", "long_scale", "long_from", "values", "values_half"});
  RopeTable table;
  for (const JsonView& frequency : in["inv_freq"].list()) {
    table.inv_freq.push_back(frequency.real());
  }
  table.scale = in["scale"].real();
  if (in.has("long_inv_freq")) {
    for (const JsonView& frequency : in["long_inv_freq"].list()) {
      table.long_inv_freq.push_back(frequency.real());
    }
    table.long_scale = in["long_scale"].real();
    table.long_from = in["long_from"].integer(0, INT32_MAX);
  }
  if (in.has("values")) {
    table.values = in["values"].integer32(kNone);
    table.values_half = in["values_half"].integer(0, INT32_MAX);
  }
  return table;
}

std::vector<int32_t> ids(const JsonView& in) {
  std::vector<int32_t> list;
  for (const JsonView& item : in.list()) list.push_back(item.integer32(kNone));
  return list;
}

// The first version of the format gave each tensor a block: stacked block by block they need at
// most the bytes of the blocks.
std::vector<TensorId> order_of_blocks(const std::vector<int32_t>& block_of) {
  std::vector<TensorId> order;
  for (size_t i = 0; i < block_of.size(); ++i) {
    if (block_of[i] != kNone) order.push_back(static_cast<TensorId>(i));
  }
  std::stable_sort(order.begin(), order.end(), [&](TensorId a, TensorId b) {
    return block_of[static_cast<size_t>(a)] < block_of[static_cast<size_t>(b)];
  });
  return order;
}

const char* role_name(TensorRole role) {
  return role == TensorRole::state ? "state" : "activation";
}

}  // namespace

json program_to_json(const Program& program) {
  json out = json::object();
  for (const auto& [name, range] : program.symbols) out["symbols"][name] = {range.min, range.max};
  out["tensors"] = json::array();
  for (const Tensor& tensor : program.tensors) {
    json shape = json::array();
    for (const Expr& extent : tensor.shape) shape.push_back(expression_to_json(extent));
    json item = {{"name", tensor.name}, {"dtype", dtype_name(tensor.dtype)}, {"shape", shape}};
    if (tensor.role != TensorRole::activation) item["role"] = role_name(tensor.role);
    out["tensors"].push_back(std::move(item));
  }
  out["weights"] = program.weights;
  out["rope_tables"] = json::array();
  for (const RopeTable& table : program.rope_tables) {
    out["rope_tables"].push_back(rope_table_to_json(table));
  }
  out["operators"] = json::array();
  for (const Operator& op : program.operators) {
    json item = {{"kind", op_kind_name(op.kind)}, {"name", op.name}};
    if (!op.inputs.empty()) item["inputs"] = op.inputs;
    if (!op.outputs.empty()) item["outputs"] = op.outputs;
    if (!op.weights.empty()) item["weights"] = op.weights;
    json attributes = attributes_to_json(op.attributes);
    if (!attributes.empty()) item["attributes"] = std::move(attributes);
    if (!op.steps.empty()) item["steps"] = generic_steps_to_json(op.steps);
    out["operators"].push_back(std::move(item));
  }
  out["segments"] = json::array();
  for (const Segment& segment : program.segments) {
    out["segments"].push_back({{"name", segment.name},
                               {"part", part_name(segment.part)},
                               {"first_op", segment.first_op},
                               {"op_count", segment.op_count}});
  }
  out["hidden"] = program.hidden;
  out["logits"] = program.logits;
  out["vocab"] = program.vocab;
  out["max_context"] = program.max_context;
  out["default_context"] = program.default_context;
  out["default_chunk"] = program.default_chunk;
  out["plan"] = {{"order", program.plan.order},
                 {"first_use", program.plan.first_use},
                 {"last_use", program.plan.last_use}};
  return out;
}

Program program_from_json(const json& value) {
  const JsonView in(value, "program");
  in.keys({"symbols", "tensors", "weights", "rope_tables", "operators", "segments", "hidden",
           "logits", "vocab", "max_context", "default_context", "default_chunk", "plan"});
  Program program;
  if (in.has("symbols")) {
    const JsonView symbols = in["symbols"];
    if (!symbols.value().is_object()) symbols.fail("must be an object");
    for (const auto& item : symbols.value().items()) {
      const auto ends = JsonView(item.value(), "program.symbols." + item.key()).list();
      if (ends.size() != 2) symbols.fail("must hold [min, max] pairs");
      program.symbols[item.key()] = {ends[0].integer(0, INT32_MAX), ends[1].integer(0, INT32_MAX)};
    }
  }
  for (const JsonView& item : in["tensors"].list()) {
    item.keys({"name", "dtype", "shape", "role"});
    Tensor tensor;
    tensor.name = item["name"].text();
    tensor.dtype = item["dtype"].one_of(dtype_name, DType::i32);
    if (item.has("role")) tensor.role = item["role"].one_of(role_name, TensorRole::state);
    for (const JsonView& extent : item["shape"].list())
      tensor.shape.push_back(expression_from_json(extent));
    program.tensors.push_back(std::move(tensor));
  }
  for (const JsonView& item : in["weights"].list()) program.weights.push_back(item.text());
  for (const JsonView& item : in["rope_tables"].list()) {
    program.rope_tables.push_back(rope_table_from_json(item));
  }
  for (const JsonView& item : in["operators"].list()) {
    item.keys({"kind", "name", "inputs", "outputs", "weights", "attributes", "steps"});
    Operator op;
    op.kind = item["kind"].one_of(op_kind_name, OpKind::generic);
    op.name = item["name"].text();
    if (item.has("inputs")) op.inputs = ids(item["inputs"]);
    if (item.has("outputs")) op.outputs = ids(item["outputs"]);
    if (item.has("weights")) op.weights = ids(item["weights"]);
    if (item.has("attributes")) op.attributes = attributes_from_json(item["attributes"]);
    if (item.has("steps")) op.steps = generic_steps_from_json(item["steps"]);
    program.operators.push_back(std::move(op));
  }
  for (const JsonView& item : in["segments"].list()) {
    item.keys({"name", "part", "first_op", "op_count"});
    program.segments.push_back({item["name"].text(), item["part"].one_of(part_name, Part::head),
                                item["first_op"].integer32(0), item["op_count"].integer32(0)});
  }
  program.hidden = in["hidden"].integer32(kNone);
  program.logits = in["logits"].integer32(kNone);
  program.vocab = in["vocab"].integer(0, INT32_MAX);
  program.max_context = in["max_context"].integer(0, INT32_MAX);
  program.default_context = in["default_context"].integer(0, INT32_MAX);
  program.default_chunk = in["default_chunk"].integer(0, INT32_MAX);
  const JsonView plan = in["plan"];
  plan.keys({"order", "block_bytes", "block_of", "first_use", "last_use"});
  program.plan.order =
      plan.has("order") ? ids(plan["order"]) : order_of_blocks(ids(plan["block_of"]));
  program.plan.first_use = ids(plan["first_use"]);
  program.plan.last_use = ids(plan["last_use"]);
  return program;
}

}  // namespace pocket
