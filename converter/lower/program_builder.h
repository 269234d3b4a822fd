// Collects the parts of a Program while lower() walks the graph: tensors, weights and names.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "converter/ir/graph.h"
#include "converter/lower/lower.h"

namespace pocket {

// One weight input of a node: rows of a constant, see reference/pocket_ops.h.
struct WeightInput {
  ir::ValueId value = ir::kAbsent;
  bool transposed = false;
  int64_t first_row = 0, rows = 0;
  float factor = 1.0f;
  using Key = std::tuple<ir::ValueId, bool, int64_t, int64_t, float>;
  Key key() const { return {value, transposed, first_row, rows, factor}; }
};

class ProgramBuilder {
 public:
  explicit ProgramBuilder(const ir::Graph& graph) : graph_(graph) {}

  // The activation [rows, width] of a graph value; throws when the value is no matrix of rows.
  TensorId activation(ir::ValueId value, bool in_head, DType dtype);
  TensorId find(ir::ValueId value) const;          // kNone when it has no tensor
  void alias(ir::ValueId view, ir::ValueId base);  // the same rows under another shape
  void bind(ir::ValueId value, TensorId tensor) { tensors_[value] = tensor; }
  TensorId add_tensor(Tensor tensor);  // its name is made unique
  TensorId new_activation(const std::string& name, bool in_head, DType dtype, int64_t width);
  TensorId state(ir::ValueId past, int64_t kv_heads, int64_t head_dim);

  // `fallback` names the weight when the constant's own name says nothing. Equal parts are one
  // weight.
  WeightId matrix(const std::vector<WeightInput>& parts, const std::string& fallback,
                  WeightRole role);
  WeightId vector(ir::ValueId constant, const std::string& fallback);  // kNone for kAbsent

  // Of an Attention node; `name` names the weight of an explicit table.
  int32_t rope_table(const ir::Node& attention, const std::string& name);
  Operator& add(OpKind kind, const std::string& name);
  // Ends a segment that holds the operators added since the last one; nothing when there are none.
  void end_segment(const std::string& name, Part part);

  WeightId add_weight(LoweredWeight weight);  // its name is made unique

  Lowered lowered;
  std::shared_ptr<void> generic;  // what lower_generic.cpp keeps between nodes

 private:
  std::string unique(const std::string& wanted, std::set<std::string>& taken) const;

  const ir::Graph& graph_;
  std::map<ir::ValueId, TensorId> tensors_;
  std::map<ir::ValueId, TensorId> states_;
  std::map<std::vector<WeightInput::Key>, WeightId> matrices_;
  std::map<ir::ValueId, WeightId> vectors_;
  using RopeKey = std::tuple<ir::ValueId, ir::ValueId, float, float, int64_t>;
  std::map<RopeKey, int32_t> rope_tables_;
  std::set<std::string> tensor_names_, weight_names_, operator_names_;
};

// "/model/layers.0/mlp/Mul" -> "model.layers.0.mlp"
std::string module_name(const std::string& node_name);

}  // namespace pocket
