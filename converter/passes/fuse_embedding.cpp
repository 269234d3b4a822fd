// Before: table, ids -> Gather -> (Mul scale) -+
//         positions table, positions -> Gather +-> Add -> y
// After:  ids, table, positions table, positions -> pocket.Embed {scale, position_offset} -> y
// The learned positions are optional; what indexes them is proven to be past + t + offset. Where
// they are added to something else (a projection of the tokens' rows) they are an Embed alone.
#include "converter/passes/match.h"
#include "converter/passes/prove.h"
#include "converter/passes/rewrites.h"

namespace pocket {

using ir::Graph;
using ir::kAbsent;
using ir::Node;
using ir::NodeId;
using ir::ValueId;

namespace {

// Rows of a 2-D float constant.
struct Lookup {
  ValueId table = kAbsent, indices = kAbsent;
};
std::optional<Lookup> lookup(const Graph& graph, ValueId value) {
  const Node* gather = made_by(graph, value, "Gather");
  if (gather == nullptr || gather->integer("axis", 0) != 0 ||
      !is_constant(graph, gather->inputs[0])) {
    return std::nullopt;
  }
  const ir::TensorData& table = *graph.value(gather->inputs[0]).constant;
  if (table.shape.size() != 2 || !ir::is_float_type(table.type)) return std::nullopt;
  return Lookup{gather->inputs[0], gather->inputs[1]};
}

struct TokenLookup {
  Lookup rows;
  double scale = 1.0;
};
std::optional<TokenLookup> token_lookup(const Graph& graph, ValueId value) {
  TokenLookup found;
  if (const Node* scaled = made_by(graph, value, "Mul")) {
    const auto split = with_scalar(graph, *scaled);
    if (!split || !used_once(graph, split->other)) return std::nullopt;
    found.scale = split->value;
    value = split->other;
  }
  const auto rows = lookup(graph, value);
  if (!rows || rows->indices != find_interface(graph).ids) return std::nullopt;
  found.rows = *rows;
  return found;
}

Node embed_node(const std::string& name, const TokenLookup& tokens) {
  Node embed;
  embed.name = name;
  embed.op = "Embed";
  embed.inputs = {tokens.rows.indices, tokens.rows.table, kAbsent, kAbsent};
  embed.attributes = {{"scale", static_cast<float>(tokens.scale)}, {"position_offset", int64_t{0}}};
  return embed;
}

// Add(token rows, position rows)
std::optional<Node> with_positions(const Graph& graph, const Node& sum, const ProofScope& scope) {
  if (!sum.is("Add")) return std::nullopt;
  for (const size_t side : {size_t{0}, size_t{1}}) {
    const auto tokens = token_lookup(graph, sum.inputs[side]);
    const auto positions = lookup(graph, sum.inputs[1 - side]);
    if (!tokens || !positions || !used_once(graph, sum.inputs[side]) ||
        !same_shape(graph, sum.inputs[side], sum.outputs[0])) {
      continue;
    }
    const auto offset = prove_positions(graph, positions->indices, scope);
    if (!offset || *offset < 0) continue;
    Node embed = embed_node(scope_of(sum.name) + "/embed", *tokens);
    embed.inputs[2] = positions->table;
    embed.inputs[3] = positions->indices;
    embed.attributes["position_offset"] = *offset;
    return embed;
  }
  return std::nullopt;
}

// Rows of learned positions that are added to what does not depend on positions alone.
std::optional<Node> positions_alone(const Graph& graph, const Node& gather,
                                    const ProofScope& scope) {
  if (!gather.is("Gather") || !used_once(graph, gather.outputs[0])) return std::nullopt;
  const ValueId out = gather.outputs[0];
  const Node& sum = graph.node(only_reader(graph, out));
  const auto rows = lookup(graph, out);
  if (!rows || !sum.is("Add") || !same_shape(graph, out, sum.outputs[0]) ||
      depends_on_positions_only(graph, sum.outputs[0])) {
    return std::nullopt;
  }
  const auto offset = prove_positions(graph, rows->indices, scope);
  if (!offset || *offset < 0) return std::nullopt;
  Node embed;
  embed.name = gather.name;
  embed.op = "Embed";
  embed.inputs = {kAbsent, kAbsent, rows->table, rows->indices};
  embed.attributes = {{"scale", 1.0f}, {"position_offset", *offset}};
  return embed;
}

int rewrite(Graph& graph, ValueId out, Node embed) {
  if (!has_shape(graph, out)) return 0;
  const std::vector<Expr> shape = *graph.value(out).shape;
  graph.replace_uses(out, emit(graph, std::move(embed), shape));
  graph.remove_dead();
  return 1;
}

}  // namespace

int fuse_embedding(PassContext& context) {
  Graph& graph = context.graph;
  int hits = 0;
  // Sums first: they contain the lookups that are then taken alone.
  for (const NodeId id : graph.order()) {
    if (!graph.alive(id)) continue;
    auto embed = with_positions(graph, graph.node(id), context.scope());
    if (embed) hits += rewrite(graph, graph.node(id).outputs[0], std::move(*embed));
  }
  std::vector<NodeId> order = graph.order();
  for (auto id = order.rbegin(); id != order.rend(); ++id) {  // scaled before bare
    if (!graph.alive(*id) || graph.node(*id).outputs.empty()) continue;
    const ValueId out = graph.node(*id).outputs[0];
    if (!graph.node(*id).is("Mul") && !graph.node(*id).is("Gather")) continue;
    const auto tokens = token_lookup(graph, out);
    if (tokens) {
      hits += rewrite(graph, out, embed_node(graph.node(*id).name, *tokens));
      continue;
    }
    auto positions = positions_alone(graph, graph.node(*id), context.scope());
    if (positions) hits += rewrite(graph, out, std::move(*positions));
  }
  return hits;
}

}  // namespace pocket
