// One node of a fused graph on its way to operators of the program: what the files of lower_node
// share. Each method of an operator returns false when no runtime operator computes the node.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "converter/lower/lower_node.h"

namespace pocket {

class NodeLowering {
 public:
  NodeLowering(const NodeContext& context, ir::NodeId id, ProgramBuilder& builder);
  bool run();

 private:
  // --- in lower_node.cpp ------------------------------------------------------------------------
  bool reads_rows() const;  // every operand lies in rows as the result does
  bool run_pocket();
  DType dtype_of(ir::ValueId) const;
  TensorId out(size_t index = 0);
  TensorId in(size_t index) const;
  // --- in lower_layer.cpp -----------------------------------------------------------------------
  std::vector<WeightInput> parts(size_t first, size_t count) const;
  float factor(size_t part) const;
  std::string linear_name() const;
  bool embed();
  bool norm();
  bool linear();
  bool gated_linear();
  bool attention();
  bool select_rows();
  // --- in lower_elementwise.cpp -----------------------------------------------------------------
  bool elementwise();  // an operator of the exchange format
  bool activation();
  bool view();
  bool unary(size_t operand, float scale, Activation function);
  bool combine(BinaryKind kind);  // two activations, or one and a constant vector or scalar
  bool binary(BinaryKind kind, size_t first, TensorId second, WeightId weight);

  const NodeContext& context_;
  const ir::Graph& graph_;
  const ir::Node& node_;
  ProgramBuilder& builder_;
  const bool in_head_;
  const std::string module_;
};

std::optional<Activation> activation_of(const std::string& name);
std::optional<BinaryKind> combination_of(const std::string& op);  // of the exchange format
// The last dimension when it is a number.
std::optional<int64_t> width_of(const ir::Graph&, ir::ValueId);

}  // namespace pocket
