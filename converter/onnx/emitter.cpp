#include "converter/onnx/emitter.h"

#include <utility>

#include "converter/reference/host_tensor.h"
#include "runtime/base/error.h"

namespace pocket::onnx_import {

using ir::ElementType;
using ir::ValueId;

const std::vector<Expr>& Expansion::shape(ValueId id) const {
  const ir::Value& value = graph.value(id);
  if (value.shape) return *value.shape;
  throw Error(ExitCode::bad_input, "value \"" + value.name +
                                       "\" feeds a fused operator but its shape is unknown; export "
                                       "the model with dynamic axes for batch and sequence only.");
}

int64_t Expansion::number(ValueId id, size_t dim) const {
  const std::vector<Expr>& dims = shape(id);
  if (dim < dims.size() && dims[dim].is_constant()) return dims[dim].constant();
  throw Error(ExitCode::bad_input, "value \"" + graph.value(id).name + "\" of shape " +
                                       ir::shape_text(dims) + " needs a number as dimension " +
                                       std::to_string(dim) + "; export the model again.");
}

bool Expansion::used(ValueId id) const {
  return id != ir::kAbsent && (graph.is_output(id) || !graph.consumers(id).empty());
}

void Emitter::fail(const std::string& what) const {
  throw Error(ExitCode::bad_input, "operator \"" + scope_ + "\" " + what + ".");
}

ValueId Emitter::op(const std::string& name, std::vector<ValueId> inputs, Attributes attributes) {
  ir::Node node;
  node.name = scope_ + "/" + name;
  node.op = name;
  node.inputs = std::move(inputs);
  node.attributes = std::move(attributes);
  const ir::NodeId id = graph().add_node(std::move(node));
  return graph().add_output(id, scope_ + "/" + name + "_out", ElementType::undefined);
}

ValueId Emitter::integers(std::vector<int64_t> list) {
  const auto count = static_cast<int64_t>(list.size());
  return graph().add_constant(scope_ + "/list",
                              ir::TensorData::from_integers({count}, std::move(list)));
}

ValueId Emitter::integer(int64_t value) {
  return graph().add_constant(scope_ + "/number", ir::TensorData::from_integers({}, {value}));
}

ValueId Emitter::expression(const Expr& value) {
  if (value.is_constant()) return integer(value.constant());
  ir::Value made;
  made.name = scope_ + "/length";
  made.type = ElementType::i64;
  made.shape.emplace();
  made.elements = std::vector<Expr>{value};
  return graph().add_value(std::move(made));
}

ValueId Emitter::scalar(double value, ElementType type) {
  reference::HostTensor tensor = reference::HostTensor::floats({}, {static_cast<float>(value)});
  if (ir::is_float_type(type)) tensor.type = type;
  return graph().add_constant(scope_ + "/scalar", tensor.to_data());
}

ValueId Emitter::scalar_like(double value, ValueId like) {
  return scalar(value, graph().value(like).type);
}

ValueId Emitter::reshape(ValueId x, std::vector<int64_t> shape) {
  return op("Reshape", {x, integers(std::move(shape))});
}

ValueId Emitter::transpose(ValueId x, std::vector<int64_t> order) {
  return op("Transpose", {x}, {{"perm", std::move(order)}});
}

ValueId Emitter::unsqueeze(ValueId x, std::vector<int64_t> axes) {
  return op("Unsqueeze", {x, integers(std::move(axes))});
}

ValueId Emitter::concat(std::vector<ValueId> parts, int64_t axis) {
  return op("Concat", std::move(parts), {{"axis", axis}});
}

ValueId Emitter::columns(ValueId x, int64_t first, int64_t end, int64_t step) {
  return op("Slice", {x, integers({first}), integers({end}), integers({-1}), integers({step})});
}

ValueId Emitter::split_heads(ValueId rows, int64_t column, int64_t heads, int64_t width) {
  const int64_t all = expansion_.number(rows, 2);
  if (heads < 1 || width < 1 || column < 0 || width > all / heads || column + heads * width > all) {
    fail("cannot cut " + std::to_string(heads) + " heads out of " + std::to_string(all) +
         " columns");
  }
  const ElementType type = graph().value(rows).type;
  if (column == 0 && heads * width == all) {
    const auto merged = expansion_.heads_of.find(rows);
    if (merged != expansion_.heads_of.end()) return merged->second;
  } else {
    rows = columns(rows, column, column + heads * width);
  }
  const ValueId split = transpose(reshape(rows, {0, 0, heads, width}), {0, 2, 1, 3});
  graph().value(split).type = type;
  return split;
}

ValueId Emitter::merge_heads(ValueId heads, int64_t width_of_rows) {
  const ValueId rows = reshape(transpose(heads, {0, 2, 1, 3}), {0, 0, width_of_rows});
  expansion_.heads_of.emplace(rows, heads);
  return rows;
}

ValueId Emitter::repeat_heads(ValueId heads, int64_t total, int64_t times, int64_t width) {
  if (times == 1) return heads;
  const ValueId wide = op("Expand", {unsqueeze(heads, {2}), integers({1, 1, times, 1, 1})});
  return reshape(wide, {0, total, -1, width});
}

ValueId Emitter::positions(const Expr& first, const Expr& count) {
  const auto [it, fresh] =
      expansion_.shared.try_emplace("positions " + first.str() + " " + count.str());
  if (fresh) {
    it->second = op("Range", {expression(first), expression(first + count), integer(1)});
    graph().value(it->second).shape = std::vector<Expr>{count};
  }
  return it->second;
}

ValueId Emitter::causal(const Expr& past, const Expr& tokens, int64_t window) {
  const std::string key =
      "causal " + past.str() + " " + tokens.str() + " " + std::to_string(window);
  if (const auto it = expansion_.shared.find(key); it != expansion_.shared.end()) return it->second;
  const ValueId row = unsqueeze(positions(past, tokens), {1});
  const ValueId column = positions(0, past + tokens);
  ValueId allowed = op("LessOrEqual", {column, row});
  if (window > 0) {
    allowed = op("And", {allowed, op("Greater", {column, op("Sub", {row, integer(window)})})});
  }
  expansion_.shared.emplace(key, allowed);
  return allowed;
}

}  // namespace pocket::onnx_import
