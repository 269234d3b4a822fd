#include "converter/passes/match.h"

#include <algorithm>
#include <cmath>

namespace pocket {

using ir::Graph;
using ir::kAbsent;
using ir::Node;
using ir::NodeId;
using ir::ValueId;

const Node* made_by(const Graph& graph, ValueId value, const char* op, const char* domain) {
  if (value == kAbsent) return nullptr;
  const Node* node = graph.producer(value);
  return node != nullptr && node->is(op, domain) ? node : nullptr;
}

int use_count(const Graph& graph, ValueId value) {
  int count = 0;
  for (const NodeId reader : graph.consumers(value)) {
    const auto& inputs = graph.node(reader).inputs;
    count += static_cast<int>(std::count(inputs.begin(), inputs.end(), value));
  }
  count += static_cast<int>(std::count(graph.outputs.begin(), graph.outputs.end(), value));
  return count;
}

bool used_once(const Graph& graph, ValueId value) {
  return only_reader(graph, value) != kAbsent && use_count(graph, value) == 1;
}

NodeId only_reader(const Graph& graph, ValueId value) {
  if (std::find(graph.outputs.begin(), graph.outputs.end(), value) != graph.outputs.end()) {
    return kAbsent;
  }
  const std::vector<NodeId> readers = graph.consumers(value);
  return readers.size() == 1 ? readers.front() : kAbsent;
}

bool is_scalar_equal(const Graph& graph, ValueId value, double expected) {
  const std::optional<double> actual = scalar(graph, value);
  return actual && std::abs(*actual - expected) <= 1e-6 * std::max(1.0, std::abs(expected));
}

std::optional<std::vector<int64_t>> known_integers(const Graph& graph, ValueId value) {
  if (value == kAbsent) return std::nullopt;
  const ir::Value& held = graph.value(value);
  if (held.constant && held.constant->type != ir::ElementType::f32 &&
      held.constant->type != ir::ElementType::f16 && held.constant->type != ir::ElementType::bf16 &&
      held.constant->type != ir::ElementType::f64) {
    return held.constant->as_integers();
  }
  if (!held.elements) return std::nullopt;
  std::vector<int64_t> numbers;
  for (const Expr& element : *held.elements) {
    if (!element.is_constant()) return std::nullopt;
    numbers.push_back(element.constant());
  }
  return numbers;
}

std::optional<ScalarOperand> with_scalar(const Graph& graph, const Node& node) {
  if (node.inputs.size() != 2) return std::nullopt;
  for (const size_t side : {size_t{1}, size_t{0}}) {
    if (const std::optional<double> number = scalar(graph, node.inputs[side])) {
      return ScalarOperand{node.inputs[1 - side], *number};
    }
  }
  return std::nullopt;
}

bool has_shape(const Graph& graph, ValueId value) {
  return value != kAbsent && graph.value(value).shape.has_value();
}

size_t rank(const Graph& graph, ValueId value) {
  return has_shape(graph, value) ? graph.value(value).shape->size() : 0;
}

std::optional<int64_t> dim_from_end(const Graph& graph, ValueId value, size_t from_end) {
  const size_t count = rank(graph, value);
  if (from_end == 0 || from_end > count) return std::nullopt;
  const Expr& dim = (*graph.value(value).shape)[count - from_end];
  if (!dim.is_constant()) return std::nullopt;
  return dim.constant();
}

std::optional<int64_t> last_dim(const Graph& graph, ValueId value) {
  return dim_from_end(graph, value, 1);
}

bool same_shape(const Graph& graph, ValueId a, ValueId b) {
  return has_shape(graph, a) && has_shape(graph, b) &&
         *graph.value(a).shape == *graph.value(b).shape;
}

bool is_vector_constant(const Graph& graph, ValueId value, int64_t n) {
  if (!is_constant(graph, value)) return false;
  const ir::TensorData& data = *graph.value(value).constant;
  return !data.shape.empty() && data.shape.back() == n && data.elements() == n;
}

std::optional<size_t> single_axis(const Graph& graph, const Node& node, const char* attribute) {
  std::vector<int64_t> axes = node.integers(attribute);
  if (axes.empty() && node.inputs.size() > 1) {
    const auto listed = known_integers(graph, node.inputs[1]);
    if (listed) axes = *listed;
  }
  const auto dims = static_cast<int64_t>(rank(graph, node.inputs.at(0)));
  if (axes.size() != 1 || dims == 0) return std::nullopt;
  const int64_t axis = axes.front() < 0 ? axes.front() + dims : axes.front();
  if (axis < 0 || axis >= dims) return std::nullopt;
  return static_cast<size_t>(axis);
}

namespace {

std::optional<SliceView> view_of_slice(const Graph& graph, const Node& node) {
  if (node.inputs.size() < 4) return std::nullopt;
  const auto starts = known_integers(graph, node.inputs[1]);
  const auto ends = known_integers(graph, node.inputs[2]);
  const auto axes = known_integers(graph, node.inputs[3]);
  if (!starts || !ends || !axes || starts->size() != 1 || axes->size() != 1 || ends->size() != 1) {
    return std::nullopt;
  }
  if (node.inputs.size() > 4 && node.inputs[4] != kAbsent) {
    const auto steps = known_integers(graph, node.inputs[4]);
    if (!steps || *steps != std::vector<int64_t>{1}) return std::nullopt;
  }
  const auto dims = static_cast<int64_t>(rank(graph, node.inputs[0]));
  const int64_t axis = axes->front() < 0 ? axes->front() + dims : axes->front();
  if (axis < 0 || axis >= dims) return std::nullopt;
  const Expr& extent = (*graph.value(node.inputs[0]).shape)[static_cast<size_t>(axis)];
  if (!extent.is_constant()) return std::nullopt;
  const int64_t size = extent.constant();
  const auto clamp = [size](int64_t at) {
    return std::clamp(at < 0 ? at + size : at, int64_t{0}, size);
  };
  const int64_t first = clamp(starts->front());
  const int64_t end = clamp(ends->front());
  if (end <= first) return std::nullopt;
  return SliceView{node.inputs[0], static_cast<size_t>(axis), first, end - first};
}

std::optional<SliceView> view_of_split(const Graph& graph, const Node& node, ValueId value) {
  const auto dims = static_cast<int64_t>(rank(graph, node.inputs[0]));
  int64_t axis = node.integer("axis", 0);
  if (axis < 0) axis += dims;
  if (axis < 0 || axis >= dims) return std::nullopt;
  SliceView view{node.inputs[0], static_cast<size_t>(axis), 0, 0};
  for (const ValueId output : node.outputs) {
    if (!has_shape(graph, output) || rank(graph, output) != static_cast<size_t>(dims)) {
      return std::nullopt;
    }
    const Expr& extent = (*graph.value(output).shape)[static_cast<size_t>(axis)];
    if (!extent.is_constant()) return std::nullopt;
    view.count = extent.constant();
    if (output == value) return view;
    view.first += view.count;
  }
  return std::nullopt;
}

}  // namespace

std::optional<SliceView> slice_view(const Graph& graph, ValueId value) {
  if (const Node* slice = made_by(graph, value, "Slice")) return view_of_slice(graph, *slice);
  if (const Node* split = made_by(graph, value, "Split")) {
    return view_of_split(graph, *split, value);
  }
  return std::nullopt;
}

ValueId emit(Graph& graph, Node node, const std::vector<Expr>& shape) {
  if (node.domain.empty()) node.domain = "pocket";
  const std::string name = node.name + "_" + node.op;
  const NodeId id = graph.add_node(std::move(node));
  const ValueId out = graph.add_output(id, name, ir::ElementType::f32);
  graph.value(out).shape = shape;
  return out;
}

std::optional<ValueId> emit_reshape(Graph& graph, const std::string& name, ValueId value,
                                    const std::vector<Expr>& shape) {
  std::vector<int64_t> target;
  int open = 0;
  for (const Expr& dim : shape) {
    if (!dim.is_constant()) ++open;
    target.push_back(dim.is_constant() ? dim.constant() : -1);
  }
  if (open > 1 || (open == 1 && std::count(target.begin(), target.end(), 0) > 0)) {
    return std::nullopt;
  }
  Node node;
  node.name = name;
  node.op = "Reshape";
  const ValueId target_value = graph.add_constant(
      name + "_shape",
      ir::TensorData::from_integers({static_cast<int64_t>(target.size())}, target));
  node.inputs = {value, target_value};
  const NodeId id = graph.add_node(std::move(node));
  const ValueId out = graph.add_output(id, name + "_output", graph.value(value).type);
  graph.value(out).shape = shape;
  return out;
}

float weight_factor(const Node& node, size_t part) {
  const auto given = node.attributes.find("factors");
  if (given == node.attributes.end()) return 1.0f;
  return std::get<std::vector<float>>(given->second).at(part);
}

std::string scope_of(const std::string& node_name) {
  const size_t slash = node_name.rfind('/');
  return slash == std::string::npos || slash == 0 ? node_name : node_name.substr(0, slash);
}

}  // namespace pocket
