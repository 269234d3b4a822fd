// Small exact simplifications on the way to plain graphs; see expand.h.
#include <algorithm>
#include <optional>

#include "converter/onnx/expand.h"
#include "converter/shape/infer.h"

namespace pocket::onnx_import {

using ir::Graph;
using ir::kAbsent;
using ir::Node;
using ir::NodeId;
using ir::ValueId;

namespace {

std::optional<int64_t> single_integer(const Graph& graph, ValueId id) {
  if (id == kAbsent) return std::nullopt;
  const ir::Value& value = graph.value(id);
  if (value.elements && value.elements->size() == 1 && (*value.elements)[0].is_constant()) {
    return (*value.elements)[0].constant();
  }
  if (!value.constant || !ir::is_integer_type(value.constant->type) ||
      value.constant->elements() != 1) {
    return std::nullopt;
  }
  return value.constant->as_integers()[0];
}

// Concat(Unsqueeze(k), Unsqueeze(v)) along a new first axis: k for 0, v for 1.
ValueId packed_half(const Graph& graph, ValueId packed, int64_t index) {
  const Node* pair = graph.producer(packed);
  if (pair == nullptr || !pair->is("Concat") || pair->inputs.size() != 2 ||
      pair->integer("axis", -1) != 0 || index < -2 || index > 1) {
    return kAbsent;
  }
  const Node* wide = graph.producer(pair->inputs[static_cast<size_t>((index + 2) % 2)]);
  if (wide == nullptr || !wide->is("Unsqueeze")) return kAbsent;
  const bool first_axis = wide->inputs.size() > 1
                              ? single_integer(graph, wide->inputs[1]) == int64_t{0}
                              : wide->integers("axes") == std::vector<int64_t>{0};
  return first_axis ? wide->inputs[0] : kAbsent;
}

// Gather(packed, i), Squeeze(Split(packed)[i]) or Squeeze(Slice(packed, i, i + 1)) of such a pair.
ValueId unpacked(const Graph& graph, const Node& node) {
  if (node.is("Gather") && node.integer("axis", 0) == 0) {
    const auto index = single_integer(graph, node.inputs[1]);
    const ir::Value& indices = graph.value(node.inputs[1]);
    if (!index || !indices.shape || !indices.shape->empty()) return kAbsent;
    return packed_half(graph, node.inputs[0], *index);
  }
  if (!node.is("Squeeze")) return kAbsent;
  const bool first_axis = node.inputs.size() > 1
                              ? single_integer(graph, node.inputs[1]) == int64_t{0}
                              : node.integers("axes") == std::vector<int64_t>{0};
  const Node* part = graph.producer(node.inputs[0]);
  if (!first_axis || part == nullptr) return kAbsent;
  if (part->is("Split") && part->integer("axis", 0) == 0 && part->outputs.size() == 2) {
    return packed_half(graph, part->inputs[0], part->outputs[1] == node.inputs[0] ? 1 : 0);
  }
  if (part->is("Slice") && part->inputs.size() >= 3) {
    const auto start = single_integer(graph, part->inputs[1]);
    const auto end = single_integer(graph, part->inputs[2]);
    const auto axis = part->inputs.size() > 3 ? single_integer(graph, part->inputs[3])
                                              : std::optional<int64_t>(0);
    if (start && end && axis == int64_t{0} && *start >= 0 && *end == *start + 1) {
      return packed_half(graph, part->inputs[0], *start);
    }
  }
  return kAbsent;
}

// Empty operands of Concat: [1, heads, 0, width] before a past.
bool drop_empty_operands(Graph& graph, NodeId id) {
  Node& node = graph.node(id);
  if (!node.is("Concat") || node.inputs.size() < 2) return false;
  std::vector<ValueId> kept;
  for (const ValueId operand : node.inputs) {
    const auto& shape = graph.value(operand).shape;
    if (!shape) return false;
    const int64_t axis = node.integer("axis", 0);
    const auto rank = static_cast<int64_t>(shape->size());
    if (axis < -rank || axis >= rank) return false;
    const Expr& length = (*shape)[static_cast<size_t>(axis < 0 ? axis + rank : axis)];
    if (!(length == Expr(0))) kept.push_back(operand);
  }
  if (kept.empty() || kept.size() == node.inputs.size()) return false;
  node.inputs = kept;
  return true;
}

// Index casts between wide integers change no index that exists.
bool drop_index_cast(Graph& graph, NodeId id) {
  Node& node = graph.node(id);
  if (!node.is("Gather")) return false;
  const Node* cast = graph.producer(node.inputs[1]);
  if (cast == nullptr || !cast->is("Cast")) return false;
  const auto wide = [&](ValueId value) {
    const ir::ElementType type = graph.value(value).type;
    return type == ir::ElementType::i32 || type == ir::ElementType::i64;
  };
  const ir::ElementType to = ir::element_from_onnx(cast->integer("to", 0));
  if (!wide(cast->inputs[0]) || (to != ir::ElementType::i32 && to != ir::ElementType::i64)) {
    return false;
  }
  node.inputs[1] = cast->inputs[0];
  return true;
}

// Where with a condition that is one known value.
ValueId decided(const Graph& graph, const Node& node) {
  if (!node.is("Where")) return kAbsent;
  const auto value = single_integer(graph, node.inputs[0]);
  if (!value) return kAbsent;
  const ValueId taken = node.inputs[*value != 0 ? 1 : 2];
  const auto &mine = graph.value(taken).shape, &whole = graph.value(node.outputs[0]).shape;
  return mine && whole && *mine == *whole ? taken : kAbsent;
}

// Before operator set 13 Softmax worked on all axes from `axis` on as one.
bool modernise_softmax(Expansion& expansion, NodeId id) {
  Graph& graph = expansion.graph;
  if (graph.opset >= 13 || !graph.node(id).is("Softmax")) return false;
  const Node node = graph.node(id);
  const auto& shape = graph.value(node.inputs[0]).shape;
  if (!shape || shape->empty()) return false;
  const auto rank = static_cast<int64_t>(shape->size());
  const int64_t given = node.integer("axis", 1);
  const int64_t axis = given < 0 ? given + rank : given;
  if (axis == rank - 1) {
    if (node.attributes.contains("axis") && given == -1) return false;
    graph.node(id).attributes["axis"] = int64_t{-1};
    return true;
  }
  if (axis < 0 || axis >= rank) return false;
  Expr joined(1);
  for (size_t d = static_cast<size_t>(axis); d < shape->size(); ++d) joined = joined * (*shape)[d];
  Emitter emit(expansion, node);
  const auto symbols = [&](std::vector<Expr> list) {
    ir::Value made;
    made.name = node.name + "/shape";
    made.type = ir::ElementType::i64;
    made.shape = std::vector<Expr>{Expr(static_cast<int64_t>(list.size()))};
    made.elements = std::move(list);
    return graph.add_value(std::move(made));
  };
  std::vector<Expr> flat(shape->begin(), shape->begin() + axis);
  flat.push_back(joined);
  const ValueId lines = emit.op("Reshape", {node.inputs[0], symbols(flat)});
  const ValueId soft = emit.op("Softmax", {lines}, {{"axis", int64_t{-1}}});
  const ValueId back = emit.op("Reshape", {soft, symbols(*shape)});
  graph.value(back).shape = *shape;
  graph.value(back).type = graph.value(node.inputs[0]).type;
  graph.replace_uses(node.outputs[0], back);
  graph.erase(id);
  return true;
}

}  // namespace

int tidy(Expansion& expansion) {
  Graph& graph = expansion.graph;
  bool wanted = graph.opset < 13 && graph.opset > 0;
  for (const NodeId id : graph.order()) {
    const Node& node = graph.node(id);
    // Shapes are needed for operands of Concat on states and for casts of indices.
    for (const ir::StatePair& state : graph.states) {
      wanted = wanted || (node.is("Concat") &&
                          std::find(node.inputs.begin(), node.inputs.end(), state.past) !=
                              node.inputs.end() &&
                          node.inputs[0] != state.past);
    }
    const Node* cast = node.is("Gather") ? graph.producer(node.inputs[1]) : nullptr;
    wanted = wanted || unpacked(graph, node) != kAbsent ||
             (cast != nullptr && cast->is("Cast") && graph.is_input(cast->inputs[0]));
  }
  if (!wanted) return 0;
  shape::infer_shapes(graph);
  int count = 0;
  for (const NodeId id : graph.order()) {
    if (!graph.alive(id)) continue;
    if (drop_empty_operands(graph, id) || drop_index_cast(graph, id) ||
        modernise_softmax(expansion, id)) {
      ++count;
      if (!graph.alive(id)) continue;
    }
    const Node& node = graph.node(id);
    if (node.outputs.size() != 1 || node.outputs[0] == kAbsent) continue;
    ValueId same = unpacked(graph, node);
    if (same == kAbsent) same = decided(graph, node);
    if (same == kAbsent && node.is("Concat") && node.inputs.size() == 1) same = node.inputs[0];
    if (same == kAbsent) continue;
    graph.replace_uses(node.outputs[0], same);
    ++count;
  }
  graph.remove_dead();
  return count;
}

}  // namespace pocket::onnx_import
