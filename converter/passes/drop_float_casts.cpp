// Before: x (f16) -> Cast f32 -> norm, softmax, ... -> Cast f16 -> y
// After:  x                   -> norm, softmax, ...             -> y
// The runtime chooses the width of every tensor itself; a cast between float types only says
// which width the exporter computed in.
#include "converter/passes/match.h"
#include "converter/passes/rewrites.h"

namespace pocket {

namespace {

bool is_float_cast(const ir::Graph& graph, const ir::Node& node) {
  return (node.is("Cast") || node.is("CastLike")) &&
         ir::is_float_type(graph.value(node.inputs[0]).type) &&
         ir::is_float_type(graph.value(node.outputs[0]).type);
}

}  // namespace

int drop_float_casts(PassContext& context) {
  ir::Graph& graph = context.graph;
  int hits = 0;
  for (const ir::NodeId id : graph.order()) {
    const ir::Node& node = graph.node(id);
    if (!is_float_cast(graph, node)) continue;
    graph.replace_uses(node.outputs[0], node.inputs[0]);
    ++hits;
  }
  return hits;
}

}  // namespace pocket
