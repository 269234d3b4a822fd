// Collects the parts of a Program while lower() walks the graph: tensors, weights and names.
#pragma once

#include <map>
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
  auto key() const { return std::tuple{value, transposed, first_row, rows}; }
};

class ProgramBuilder {
 public:
  explicit ProgramBuilder(const ir::Graph& graph) : graph_(graph) {}

  // The activation [rows, width] of a graph value; throws when the value is no matrix of rows.
  TensorId activation(ir::ValueId value, bool in_head, DType dtype);
  TensorId find(ir::ValueId value) const;          // kNone when it has no tensor
  void alias(ir::ValueId view, ir::ValueId base);  // the same rows under another shape
  TensorId new_activation(const std::string& name, bool in_head, DType dtype, int64_t width);
  TensorId state(ir::ValueId past, int64_t kv_heads, int64_t head_dim);

  // `fallback` names the weight when the constant's own name says nothing. Equal parts are one
  // weight.
  WeightId matrix(const std::vector<WeightInput>& parts, const std::string& fallback,
                  WeightRole role);
  WeightId vector(ir::ValueId constant, const std::string& fallback);  // kNone for kAbsent

  int32_t rope_table(ir::ValueId inv_freq, double scale);
  Operator& add(OpKind kind, const std::string& name);
  // Ends a segment that holds the operators added since the last one; nothing when there are none.
  void end_segment(const std::string& name, Part part);

  Lowered lowered;

 private:
  std::string unique(const std::string& wanted, std::set<std::string>& taken) const;
  WeightId add_weight(LoweredWeight weight);

  const ir::Graph& graph_;
  std::map<ir::ValueId, TensorId> tensors_;
  std::map<ir::ValueId, TensorId> states_;
  std::map<std::vector<std::tuple<ir::ValueId, bool, int64_t, int64_t>>, WeightId> matrices_;
  std::map<ir::ValueId, WeightId> vectors_;
  std::map<std::pair<ir::ValueId, double>, int32_t> rope_tables_;
  std::set<std::string> tensor_names_, weight_names_, operator_names_;
};

// "/model/layers.0/mlp/Mul" -> "model.layers.0.mlp"
std::string module_name(const std::string& node_name);

}  // namespace pocket
