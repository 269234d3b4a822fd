// Before: x [1, heads, tokens, dim] -> Split -> Norm {weight 0} -+
//                                            -> Norm {weight 1} -+-> Concat -> y
// After:  x -> Norm -> Mul weights [1, heads, 1, dim] -> y
#include "converter/passes/match.h"
#include "converter/passes/rewrites.h"

namespace pocket {

using ir::Graph;
using ir::kAbsent;
using ir::Node;
using ir::NodeId;
using ir::ValueId;

namespace {

struct Joined {
  ValueId x = kAbsent;
  size_t axis = 0;
  const Node* norm = nullptr;  // any of them
  std::vector<float> weights;
  int64_t heads = 0, width = 0;
};

// Norms without bias of consecutive single heads that are put together again.
std::optional<Joined> match_joined(const Graph& graph, const Node& concat) {
  if (!concat.is("Concat") || concat.inputs.size() < 2) return std::nullopt;
  const auto dims = static_cast<int64_t>(rank(graph, concat.outputs[0]));
  int64_t axis = concat.integer("axis", 0);
  if (axis < 0) axis += dims;
  if (axis < 0 || axis + 1 >= dims) return std::nullopt;
  Joined joined;
  joined.axis = static_cast<size_t>(axis);
  for (const ValueId input : concat.inputs) {
    const Node* norm = made_by(graph, input, "Norm", "pocket");
    if (norm == nullptr || norm->inputs[1] == kAbsent || norm->inputs[2] != kAbsent ||
        norm->inputs[3] != kAbsent || !used_once(graph, input)) {
      return std::nullopt;
    }
    const auto view = slice_view(graph, norm->inputs[0]);
    const auto width = last_dim(graph, input);
    if (!view || !width || view->axis != joined.axis || view->count != 1 ||
        view->first != joined.heads || (joined.norm != nullptr && view->base != joined.x)) {
      return std::nullopt;
    }
    if (joined.norm != nullptr && (joined.norm->text("kind", "rms") != norm->text("kind", "rms") ||
                                   joined.norm->real("epsilon", 0) != norm->real("epsilon", 0))) {
      return std::nullopt;
    }
    joined.x = view->base;
    joined.norm = norm;
    joined.width = *width;
    ++joined.heads;
    const std::vector<float> weight = graph.value(norm->inputs[1]).constant->as_floats();
    joined.weights.insert(joined.weights.end(), weight.begin(), weight.end());
  }
  if (!same_shape(graph, joined.x, concat.outputs[0])) return std::nullopt;
  return joined;
}

}  // namespace

int join_head_norms(PassContext& context) {
  Graph& graph = context.graph;
  int hits = 0;
  for (const NodeId id : graph.order()) {
    if (!graph.alive(id)) continue;
    const auto joined = match_joined(graph, graph.node(id));
    if (!joined) continue;
    const std::string name = graph.node(id).name;
    const std::vector<Expr> shape = *graph.value(joined->x).shape;
    Node norm;
    norm.name = name;
    norm.op = "Norm";
    norm.inputs = {joined->x, kAbsent, kAbsent, kAbsent};
    norm.attributes = joined->norm->attributes;
    std::vector<int64_t> extents(shape.size(), 1);
    extents[joined->axis] = joined->heads;
    extents.back() = joined->width;
    Node product;
    product.name = name + "/weights";
    product.op = "Mul";
    product.inputs = {emit(graph, std::move(norm), shape),
                      graph.add_constant(name + ".weights",
                                         ir::TensorData::from_floats(extents, joined->weights))};
    const NodeId made = graph.add_node(std::move(product));
    const ValueId out = graph.add_output(made, name + "/joined", ir::ElementType::f32);
    graph.value(out).shape = shape;
    graph.replace_uses(graph.node(id).outputs[0], out);
    graph.remove_dead();
    ++hits;
  }
  return hits;
}

}  // namespace pocket
