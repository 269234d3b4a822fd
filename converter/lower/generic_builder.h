// What lower_generic's files share: where a graph value lies, and how steps are added.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "converter/lower/lower_node.h"
#include "converter/lower/program_builder.h"

namespace pocket::generic {

// A view of a graph value: element offset + sum strides[d] * coordinate[d] of its source.
struct View {
  GenericSource source = GenericSource::input;
  int32_t id = kNone;    // TensorId of an input, WeightId of a weight
  double number = 0.0;   // of a number
  bool integer = false;  // i32, else float
  Expr offset;
  std::vector<Expr> shape, strides;  // by dimension of the graph value
  bool is_state = false;

  size_t rank() const { return shape.size(); }
};

using Shape = std::vector<Expr>;

std::vector<Expr> contiguous_strides(const Shape&);
Expr product(const Shape&, size_t first, size_t last);

// Between nodes: views that have no tensor of their own, constants that are weights already.
struct Memory {
  std::map<ir::ValueId, View> views;
  std::map<ir::ValueId, WeightId> constants;
};

// Raised inside a node's lowering when its meaning is not proven: the node is refused.
struct Refused {};

class Builder {
 public:
  Builder(const NodeContext& context, ir::NodeId node, ProgramBuilder& program);

  const ir::Graph& graph;
  const ir::Node& node;

  // --- operands ---------------------------------------------------------------------------------
  bool has(size_t input) const;
  View in(size_t input);  // Refused when it is absent or what makes it was refused
  View locate(ir::ValueId);
  // Integer contents in symbols: a constant or elements. Refused otherwise.
  std::vector<Expr> elements(size_t input) const;
  int64_t constant_integer(size_t input) const;
  Shape out_shape(size_t output = 0) const;
  bool out_integer(size_t output = 0) const;
  int64_t axis(int64_t wanted, size_t rank) const;  // from the end when negative
  bool proven_le(const Expr& a, const Expr& b) const;

  static View number(double value);
  static View integer(Expr value);

  // --- steps ------------------------------------------------------------------------------------
  // An operand of a step: a view and its strides over the step's domain.
  struct Operand {
    View view;
    std::vector<Expr> strides;
  };
  struct Step {
    GenericFunction function = GenericFunction::copy;
    bool integer = false;  // computes in i32
    Shape domain;
    int32_t inner = 0;
    Expr out_offset;
    std::vector<Expr> out_strides;
    std::vector<Operand> operands;
    std::vector<Expr> scalars;
  };
  // A new tensor of this shape that the steps write.
  View make(const Shape&, bool integer, std::vector<Step> steps);
  // The steps write rows of a state.
  void append(const View& state, std::vector<Step> steps);

  // A function of views broadcast to `shape`.
  View map(GenericFunction, const std::vector<View>&, const Shape& shape, bool out_integer);
  View map(GenericFunction, const std::vector<View>&, const Shape& shape);  // as its operands
  View reduce(GenericFunction, const View&, const std::vector<bool>& axes, bool keep,
              bool out_integer);
  View reshape(const View&, const Shape&);
  View copied(const View&);                          // contiguous
  static View broadcast(const View&, const Shape&);  // Refused when an extent does not fit
  static std::vector<Expr> aligned(const View&, const Shape&);  // strides of the broadcast

  // The node's result.
  void set(size_t output, View);

 private:
  View constant(ir::ValueId, const ir::TensorData&);
  View symbolic(const ir::Value&);
  View model_input(ir::ValueId);
  std::optional<View> state_view(ir::ValueId) const;
  bool behind_head(ir::ValueId) const;
  Shape shape_of(ir::ValueId) const;
  void check_present(ir::ValueId, const View&) const;
  void add(std::vector<Step>, TensorId output, TensorId state);

  const NodeContext& context_;
  ProgramBuilder& program_;
  Memory& memory_;
  const bool in_head_;
};

// Each lowers the node's operator when it is one of theirs.
bool lower_elementwise(Builder&);
bool lower_movement(Builder&);
bool lower_index(Builder&);
bool lower_reduction(Builder&);
bool lower_product(Builder&);

}  // namespace pocket::generic
