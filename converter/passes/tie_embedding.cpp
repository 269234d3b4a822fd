// Before: ids, table -> Embed          x -> Linear W (a second copy of the table)
// After:  ids, table -> Embed          x -> Linear table
// Exports of models with a tied head store the matrix once, twice, or a second time transposed.
#include "converter/lower/weight_source.h"
#include "converter/passes/match.h"
#include "converter/passes/rewrites.h"

namespace pocket {

using ir::Graph;
using ir::kAbsent;
using ir::Node;
using ir::NodeId;
using ir::ValueId;

namespace {

// The numbers of a Linear of one part, none when it has several.
std::optional<WeightSource> weight_of(const Graph& graph, const Node& node) {
  if (!node.is("Linear", "pocket") || node.inputs.size() != 4) return std::nullopt;
  const ir::TensorData& data = *graph.value(node.inputs[3]).constant;
  if (data.bytes == nullptr && data.quantised == nullptr) return std::nullopt;
  return WeightSource(
      {{data, node.integers("transposed").front() != 0, node.integers("first_row").front(),
        node.integers("rows").front(), weight_factor(node, 0)}});
}

}  // namespace

int tie_embedding(PassContext& context) {
  Graph& graph = context.graph;
  int hits = 0;
  for (const NodeId embed_id : graph.order()) {
    const Node& embed = graph.node(embed_id);
    if (!embed.is("Embed", "pocket")) continue;
    const ValueId table = embed.inputs[1];
    if (table == kAbsent) continue;  // learned positions alone
    const ir::TensorData& data = *graph.value(table).constant;
    if (data.bytes == nullptr && data.quantised == nullptr) continue;
    const WeightSource rows({{data, false, 0, data.shape[0]}});
    for (const NodeId id : graph.order()) {
      Node& node = graph.node(id);
      const auto weight = weight_of(graph, node);
      if (!weight || node.inputs[3] == table || !weight->same_values(rows)) continue;
      node.inputs[3] = table;
      node.attributes["transposed"] = std::vector<int64_t>{0};
      ++hits;
    }
  }
  return hits;
}

}  // namespace pocket
