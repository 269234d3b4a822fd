// Before: x -> MatMul W[K, N] (or Transpose of W[N, K]) -> Add bias[N] -> y
//         x -> Gemm W, bias {transB} -> y
// After:  x -> pocket.Linear {W parts, transposed?} -> y
// The constant stays as it lies in the file; "transposed" says that it is [K, N].
#include "converter/passes/match.h"
#include "converter/passes/rewrites.h"

namespace pocket {

using ir::Graph;
using ir::kAbsent;
using ir::Node;
using ir::NodeId;
using ir::ValueId;

namespace {

struct LinearMatch {
  ValueId x = kAbsent, weight = kAbsent, bias = kAbsent, out = kAbsent;
  bool transposed = false;  // the constant is [K, N]
  int64_t rows = 0;         // N
};

struct MatrixConstant {
  ValueId value = kAbsent;
  bool transposed = false;
};

// A 2-D float constant, possibly behind a Transpose; `transposed` counts from "used as [K, N]".
std::optional<MatrixConstant> matrix_constant(const Graph& graph, ValueId value) {
  bool transposed = true;
  if (const Node* flip = made_by(graph, value, "Transpose")) {
    const std::vector<int64_t> order = flip->integers("perm", {1, 0});
    if (order != std::vector<int64_t>{1, 0}) return std::nullopt;
    value = flip->inputs[0];
    transposed = false;
  }
  if (!is_constant(graph, value)) return std::nullopt;
  const ir::TensorData& data = *graph.value(value).constant;
  if (data.shape.size() != 2 || !ir::is_float_type(data.type)) return std::nullopt;
  return MatrixConstant{value, transposed};
}

int64_t dim_of(const Graph& graph, const MatrixConstant& matrix, size_t axis) {
  return graph.value(matrix.value).constant->shape[axis];
}

std::optional<LinearMatch> match_matmul(const Graph& graph, const Node& node) {
  if (!node.is("MatMul")) return std::nullopt;
  const auto matrix = matrix_constant(graph, node.inputs[1]);
  const auto width = last_dim(graph, node.inputs[0]);
  if (!matrix || !width || rank(graph, node.inputs[0]) < 2) return std::nullopt;
  const int64_t columns = dim_of(graph, *matrix, matrix->transposed ? 0 : 1);
  if (columns != *width) return std::nullopt;
  LinearMatch match{
      node.inputs[0],  matrix->value,      kAbsent,
      node.outputs[0], matrix->transposed, dim_of(graph, *matrix, matrix->transposed ? 1 : 0)};
  const NodeId reader = only_reader(graph, match.out);
  if (reader == kAbsent || !graph.node(reader).is("Add")) return match;
  const Node& sum = graph.node(reader);
  const ValueId other = sum.inputs[0] == match.out ? sum.inputs[1] : sum.inputs[0];
  if (is_vector_constant(graph, other, match.rows) &&
      same_shape(graph, match.out, sum.outputs[0])) {
    match.bias = other;
    match.out = sum.outputs[0];
  }
  return match;
}

std::optional<LinearMatch> match_gemm(const Graph& graph, const Node& node) {
  if (!node.is("Gemm") || node.integer("transA", 0) != 0 || node.real("alpha", 1.0f) != 1.0f) {
    return std::nullopt;
  }
  auto matrix = matrix_constant(graph, node.inputs[1]);
  const auto width = last_dim(graph, node.inputs[0]);
  if (!matrix || !width) return std::nullopt;
  if (node.integer("transB", 0) != 0) matrix->transposed = !matrix->transposed;
  if (dim_of(graph, *matrix, matrix->transposed ? 0 : 1) != *width) return std::nullopt;
  LinearMatch match{
      node.inputs[0],  matrix->value,      kAbsent,
      node.outputs[0], matrix->transposed, dim_of(graph, *matrix, matrix->transposed ? 1 : 0)};
  if (node.inputs.size() > 2 && node.inputs[2] != kAbsent) {
    if (node.real("beta", 1.0f) != 1.0f || !is_vector_constant(graph, node.inputs[2], match.rows)) {
      return std::nullopt;
    }
    match.bias = node.inputs[2];
  }
  return match;
}

}  // namespace

int fuse_linear(PassContext& context) {
  Graph& graph = context.graph;
  int hits = 0;
  for (const NodeId id : graph.order()) {
    if (!graph.alive(id)) continue;
    const Node& node = graph.node(id);
    auto match = match_matmul(graph, node);
    if (!match) match = match_gemm(graph, node);
    if (!match) continue;
    Node linear;
    linear.name = node.name;
    linear.op = "Linear";
    linear.inputs = {match->x, match->bias, kAbsent, match->weight};
    linear.attributes = {{"transposed", std::vector<int64_t>{match->transposed ? 1 : 0}},
                         {"first_row", std::vector<int64_t>{0}},
                         {"rows", std::vector<int64_t>{match->rows}},
                         {"activation", std::string("none")}};
    std::vector<Expr> shape = *graph.value(match->x).shape;
    shape.back() = Expr(match->rows);
    graph.replace_uses(match->out, emit(graph, std::move(linear), shape));
    graph.remove_dead();
    ++hits;
  }
  return hits;
}

}  // namespace pocket
