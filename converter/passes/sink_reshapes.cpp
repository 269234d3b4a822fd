// Before: x [1, tokens, K] -> Reshape [tokens, 1, K] -> Linear | Norm | Add | ... -> y [tokens, 1,
// N] After:  x [1, tokens, K] -> Linear | Norm | Add | ... -> Reshape [tokens, 1, N] -> y Matrices
// of one row per token get one shape, [1, tokens, width], whatever the export wrote; the views that
// remain usually meet their inverse and are merged away. A Transpose that only moves dimensions of
// 1 is such a view.
#include <algorithm>

#include "converter/passes/match.h"
#include "converter/passes/rewrites.h"

namespace pocket {

using ir::Graph;
using ir::kAbsent;
using ir::Node;
using ir::NodeId;
using ir::ValueId;

namespace {

bool is_view(const Node* node) {
  return node != nullptr && node->domain.empty() &&
         (node->op == "Reshape" || node->op == "Flatten" || node->op == "Squeeze" ||
          node->op == "Unsqueeze");
}

// The width of [tokens, width] with at most one 1 besides; none for other shapes. Four dimensions
// are those of heads, even where there is only one of them.
std::optional<int64_t> width_of_rows(const Graph& graph, ValueId value) {
  const auto width = last_dim(graph, value);
  if (!width || rank(graph, value) < 2 || rank(graph, value) > 3) return std::nullopt;
  const std::vector<Expr>& shape = *graph.value(value).shape;
  Expr rows(1);
  for (size_t i = 0; i + 1 < shape.size(); ++i) rows = rows * shape[i];
  return rows == Expr::symbol("tokens") ? width : std::nullopt;
}

std::vector<Expr> one_shape(int64_t width) {
  return {Expr(1), Expr::symbol("tokens"), Expr(width)};
}

// Operands that hold rows; the others of the node are weights.
std::vector<size_t> row_operands(const Node& node) {
  if (node.is("Linear", "pocket")) return {0, 2};
  if (node.is("Norm", "pocket")) return {0, 3};
  if (node.is("Activation", "pocket") || node.is("GatedLinear", "pocket")) return {0};
  if (node.is("Add") || node.is("Sub") || node.is("Mul") || node.is("Div")) return {0, 1};
  return {};
}

// A constant that acts on every row alike.
bool is_row_constant(const Graph& graph, ValueId value, int64_t width) {
  return scalar(graph, value) || is_vector_constant(graph, value, width);
}

bool can_move(const Graph& graph, const Node& node) {
  const std::vector<size_t> operands = row_operands(node);
  if (operands.empty() || node.outputs.size() != 1) return false;
  const auto width = width_of_rows(graph, node.outputs[0]);
  if (!width || *graph.value(node.outputs[0]).shape == one_shape(*width)) return false;
  return std::all_of(operands.begin(), operands.end(), [&](size_t i) {
    const ValueId operand = node.inputs[i];
    if (operand == kAbsent) return true;
    if (is_constant(graph, operand)) return is_row_constant(graph, operand, *width);
    const auto own = width_of_rows(graph, operand);
    return own && (*own == *width || node.domain == "pocket");
  });
}

// The rows of an operand in the one shape.
std::optional<ValueId> rows_of(Graph& graph, ValueId value, const std::string& name) {
  const std::vector<Expr> shape = one_shape(*width_of_rows(graph, value));
  for (ValueId base = value;;) {
    if (*graph.value(base).shape == shape) return base;
    const Node* view = graph.producer(base);
    if (!is_view(view)) break;
    base = view->inputs[0];
    if (!has_shape(graph, base)) break;
  }
  return emit_reshape(graph, name, value, shape);
}

int move(Graph& graph, NodeId id) {
  const Node node = graph.node(id);
  const ValueId out = node.outputs[0];
  Node moved = node;
  moved.outputs.clear();
  for (const size_t i : row_operands(node)) {
    const ValueId operand = node.inputs[i];
    if (operand == kAbsent || is_constant(graph, operand)) continue;
    const auto rows = rows_of(graph, operand, node.name + "/rows");
    if (!rows) return 0;
    moved.inputs[i] = *rows;
  }
  const NodeId made = graph.add_node(std::move(moved));
  const ValueId rows = graph.add_output(made, node.name + "_rows", graph.value(out).type);
  graph.value(rows).shape = one_shape(*width_of_rows(graph, out));
  const std::vector<Expr> old_shape = *graph.value(out).shape;
  const auto viewed = emit_reshape(graph, node.name + "/view", rows, old_shape);
  if (!viewed) return 0;
  graph.replace_uses(out, *viewed);
  graph.erase(id);
  return 1;
}

// A part of the last axis of rows: the same part of the rows in the one shape.
std::optional<ValueId> moved_part(Graph& graph, ValueId out, const std::string& name) {
  const auto part = slice_view(graph, out);
  const auto width = width_of_rows(graph, out);
  if (!part || !width || part->axis + 1 != rank(graph, part->base) ||
      *graph.value(out).shape == one_shape(*width)) {
    return std::nullopt;
  }
  const auto rows = rows_of(graph, part->base, name + "/rows");
  if (!rows) return std::nullopt;
  const auto integer = [&](int64_t number) {
    return graph.add_constant(name + "/integer", ir::TensorData::from_integers({1}, {number}));
  };
  Node slice;
  slice.name = name;
  slice.op = "Slice";
  slice.inputs = {*rows, integer(part->first), integer(part->first + part->count), integer(2)};
  const NodeId made = graph.add_node(std::move(slice));
  const ValueId moved = graph.add_output(made, name + "_rows", graph.value(out).type);
  graph.value(moved).shape = one_shape(*width);
  const std::vector<Expr> old_shape = *graph.value(out).shape;
  return emit_reshape(graph, name + "/view", moved, old_shape);
}

int move_parts(Graph& graph, NodeId id) {
  const Node node = graph.node(id);
  if (!node.is("Slice") && !node.is("Split")) return 0;
  int hits = 0;
  for (const ValueId out : node.outputs) {
    const auto moved = out == kAbsent ? std::nullopt : moved_part(graph, out, node.name);
    if (!moved) continue;
    graph.replace_uses(out, *moved);
    ++hits;
  }
  return hits;
}

// Dimensions other than 1 keep their order.
bool moves_only_ones(const Graph& graph, const Node& node) {
  if (!node.is("Transpose") || !has_shape(graph, node.inputs[0])) return false;
  const std::vector<Expr>& shape = *graph.value(node.inputs[0]).shape;
  const std::vector<int64_t> order = node.integers("perm");
  int64_t last = -1;
  for (const int64_t axis : order) {
    if (axis < 0 || axis >= static_cast<int64_t>(shape.size())) return false;
    if (shape[static_cast<size_t>(axis)] == Expr(1)) continue;
    if (axis < last) return false;
    last = axis;
  }
  return !order.empty();
}

}  // namespace

int sink_reshapes(PassContext& context) {
  Graph& graph = context.graph;
  int hits = 0;
  for (const NodeId id : graph.order()) {
    if (moves_only_ones(graph, graph.node(id))) {
      const ValueId out = graph.node(id).outputs[0];
      if (!has_shape(graph, out)) continue;
      const std::vector<Expr> shape = *graph.value(out).shape;
      const auto viewed = emit_reshape(graph, graph.node(id).name, graph.node(id).inputs[0], shape);
      if (!viewed) continue;
      graph.replace_uses(out, *viewed);
      ++hits;
    } else if (can_move(graph, graph.node(id))) {
      hits += move(graph, id);
    } else {
      hits += move_parts(graph, id);
    }
  }
  graph.remove_dead();
  return hits + (hits > 0 ? merge_reshapes(context) : 0);
}

}  // namespace pocket
