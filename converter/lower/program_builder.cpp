#include "converter/lower/program_builder.h"

#include <algorithm>

#include "runtime/base/error.h"

namespace pocket {

namespace {

// Exporters number the constants that they make themselves.
bool is_telling(const std::string& name) {
  return !name.empty() && name.find("onnx::") == std::string::npos &&
         name.find("_output_") == std::string::npos && name.find('/') == std::string::npos;
}

[[noreturn]] void fail(const std::string& message) { throw Error(ExitCode::bad_input, message); }

}  // namespace

std::string module_name(const std::string& node_name) {
  std::string name = node_name;
  if (const size_t slash = name.rfind('/'); slash != std::string::npos && slash > 0) {
    name.resize(slash);
  }
  if (!name.empty() && name.front() == '/') name.erase(0, 1);
  std::replace(name.begin(), name.end(), '/', '.');
  return name.empty() ? node_name : name;
}

std::string ProgramBuilder::unique(const std::string& wanted, std::set<std::string>& taken) const {
  std::string name = wanted;
  for (int suffix = 2; !taken.insert(name).second; ++suffix) {
    name = wanted + "." + std::to_string(suffix);
  }
  return name;
}

TensorId ProgramBuilder::add_tensor(Tensor tensor) {
  tensor.name = unique(tensor.name, tensor_names_);
  lowered.program.tensors.push_back(std::move(tensor));
  return static_cast<TensorId>(lowered.program.tensors.size() - 1);
}

TensorId ProgramBuilder::new_activation(const std::string& name, bool in_head, DType dtype,
                                        int64_t width) {
  Tensor tensor;
  tensor.name = name;
  tensor.dtype = dtype == DType::f16 && width % 2 != 0 ? DType::f32 : dtype;
  tensor.shape = {Expr::symbol(in_head ? "rows" : "tokens"), Expr(width)};
  return add_tensor(std::move(tensor));
}

TensorId ProgramBuilder::activation(ir::ValueId value, bool in_head, DType dtype) {
  if (const TensorId known = find(value); known != kNone) return known;
  const ir::Value& held = graph_.value(value);
  Expr rows(1);
  if (held.shape && !held.shape->empty()) {
    for (size_t i = 0; i + 1 < held.shape->size(); ++i) rows = rows * (*held.shape)[i];
  }
  if (!held.shape || held.shape->empty() || !held.shape->back().is_constant() ||
      !(rows == Expr::symbol("tokens"))) {
    fail("The value '" + held.name + "' of shape " +
         (held.shape ? ir::shape_text(*held.shape) : std::string("unknown")) +
         " is no matrix of one row per token; export the model with one sequence and a text "
         "generation task.");
  }
  const TensorId id = new_activation(held.name, in_head, dtype, held.shape->back().constant());
  tensors_[value] = id;
  return id;
}

TensorId ProgramBuilder::find(ir::ValueId value) const {
  const auto known = tensors_.find(value);
  return known == tensors_.end() ? kNone : known->second;
}

void ProgramBuilder::alias(ir::ValueId view, ir::ValueId base) { tensors_[view] = find(base); }

TensorId ProgramBuilder::state(ir::ValueId past, int64_t kv_heads, int64_t head_dim) {
  if (const auto known = states_.find(past); known != states_.end()) return known->second;
  Tensor tensor;
  tensor.name = graph_.value(past).name;
  tensor.role = TensorRole::state;
  tensor.dtype = head_dim % 2 == 0 ? DType::f16 : DType::f32;
  tensor.shape = {Expr::symbol("context"), Expr(kv_heads), Expr(head_dim)};
  const TensorId id = add_tensor(std::move(tensor));
  states_[past] = id;
  return id;
}

WeightId ProgramBuilder::add_weight(LoweredWeight weight) {
  weight.name = unique(weight.name, weight_names_);
  lowered.program.weights.push_back(weight.name);
  lowered.weights.push_back(std::move(weight));
  return static_cast<WeightId>(lowered.weights.size() - 1);
}

WeightId ProgramBuilder::matrix(const std::vector<WeightInput>& parts, const std::string& fallback,
                                WeightRole role) {
  std::vector<WeightInput::Key> key;
  std::vector<WeightPart> sources;
  for (const WeightInput& part : parts) {
    key.push_back(part.key());
    sources.push_back({*graph_.value(part.value).constant, part.transposed, part.first_row,
                       part.rows, part.factor});
  }
  if (const auto known = matrices_.find(key); known != matrices_.end()) {
    LoweredWeight& shared = lowered.weights[static_cast<size_t>(known->second)];
    const bool embeds = shared.role == WeightRole::embedding || role == WeightRole::embedding;
    if (shared.role != role && embeds) {
      shared.role = WeightRole::embedding;
      shared.tied = true;
    }
    return known->second;
  }
  LoweredWeight weight;
  const std::string& own_name = graph_.value(parts.front().value).name;
  const bool whole = parts.size() == 1 && parts.front().first_row == 0;
  weight.name = whole && is_telling(own_name) ? own_name : fallback;
  weight.role = role;
  weight.source = WeightSource(std::move(sources));
  weight.shape = {weight.source.rows(), weight.source.columns()};
  const WeightId id = add_weight(std::move(weight));
  matrices_[key] = id;
  return id;
}

WeightId ProgramBuilder::vector(ir::ValueId constant, const std::string& fallback) {
  if (constant == ir::kAbsent) return kNone;
  if (const auto known = vectors_.find(constant); known != vectors_.end()) return known->second;
  const ir::Value& held = graph_.value(constant);
  ir::TensorData row = *held.constant;
  row.shape = {row.elements()};
  LoweredWeight weight;
  weight.name = is_telling(held.name) ? held.name : fallback;
  weight.role = WeightRole::vector;
  weight.shape = row.shape;
  weight.source = WeightSource({{row, false, 0, 1}});
  const WeightId id = add_weight(std::move(weight));
  vectors_[constant] = id;
  return id;
}

int32_t ProgramBuilder::rope_table(const ir::Node& attention, const std::string& name) {
  const ir::ValueId angles = attention.inputs.at(5), far = attention.inputs.at(6);
  const float scale = attention.real("rotary_scale", 1.0f);
  const float far_scale = attention.real("far_scale", 1.0f);
  const int64_t far_from = attention.integer("far_from", 0);
  const auto count = static_cast<int32_t>(lowered.program.rope_tables.size());
  const auto [entry, is_new] =
      rope_tables_.try_emplace({angles, far, scale, far_scale, far_from}, count);
  if (!is_new) return entry->second;
  RopeTable table;
  table.scale = static_cast<double>(scale);
  const auto numbers = [&](ir::ValueId value) {
    const std::vector<float> floats = graph_.value(value).constant->as_floats();
    return std::vector<double>(floats.begin(), floats.end());
  };
  if (graph_.value(angles).constant->shape.size() == 2) {
    const int64_t rows = graph_.value(angles).constant->shape[0];
    table.values_half = graph_.value(angles).constant->shape[1] / 2;
    table.values = matrix({{angles, false, 0, rows}}, name, WeightRole::vector);
  } else {
    table.inv_freq = numbers(angles);
  }
  if (far != ir::kAbsent) {
    table.long_inv_freq = numbers(far);
    table.long_scale = static_cast<double>(far_scale);
    table.long_from = far_from;
  }
  lowered.program.rope_tables.push_back(std::move(table));
  return count;
}

Operator& ProgramBuilder::add(OpKind kind, const std::string& name) {
  Operator op;
  op.kind = kind;
  op.name = unique(name.empty() ? op_kind_name(kind) : name, operator_names_);
  lowered.program.operators.push_back(std::move(op));
  return lowered.program.operators.back();
}

void ProgramBuilder::end_segment(const std::string& name, Part part) {
  Program& program = lowered.program;
  const int32_t first = program.segments.empty()
                            ? 0
                            : program.segments.back().first_op + program.segments.back().op_count;
  const auto count = static_cast<int32_t>(program.operators.size()) - first;
  if (count > 0) program.segments.push_back({name, part, first, count});
}

}  // namespace pocket
