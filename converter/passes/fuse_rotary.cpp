// Before:  x -----------------------------------> Mul cos -+
//          x -> Slice b -> Neg -+                          +-> Add -> y
//          x -> Slice a --------+-> Concat -----> Mul sin -+
//     or   x -> Slice a, b;  Concat(a*cos - b*sin, b*cos + a*sin), pairs instead of halves, a part
//          of the head only, or any other way to write it
// After:   x -> pocket.RotaryEmbedding {inv_freq; rotary_dim, interleaved, scale} -> y
// What the operators between x and y do is read off by evaluating them (rotary_cone.h), and the
// tables are proven for all positions (prove.h).
#include <algorithm>
#include <map>

#include "converter/passes/match.h"
#include "converter/passes/rewrites.h"
#include "converter/passes/rotary_cone.h"

namespace pocket {

using ir::Graph;
using ir::kAbsent;
using ir::Node;
using ir::NodeId;
using ir::ValueId;

namespace {

bool may_end_rotation(const Graph& graph, const Node& node) {
  if (node.is("Add") || node.is("Concat")) return true;
  // Pairs that are joined again.
  return (node.is("Reshape") || node.is("Flatten")) && last_dim(graph, node.inputs[0]) == 2 &&
         last_dim(graph, node.outputs[0]).value_or(0) > 2;
}

// Proofs of tables that several rotations share, and the constants made of them.
struct Known {
  int64_t rotary_dim = 0;
  std::optional<RotaryAngles> angles;
  ValueId table = kAbsent, far_table = kAbsent;
};

ValueId add_frequencies(Graph& graph, const char* name, const std::vector<double>& values) {
  const auto count = static_cast<int64_t>(values.size());
  return graph.add_constant(name,
                            ir::TensorData::from_floats({count}, {values.begin(), values.end()}));
}

void add_constants(Graph& graph, Known& known) {
  const RotaryAngles& angles = *known.angles;
  if (!angles.values.empty()) {
    const int64_t columns = known.rotary_dim;
    const int64_t rows = static_cast<int64_t>(angles.values.size()) / columns;
    known.table = graph.add_constant("rotary_table",
                                     ir::TensorData::from_floats({rows, columns}, angles.values));
    return;
  }
  known.table = add_frequencies(graph, "inv_freq", angles.inv_freq);
  if (!angles.far_inv_freq.empty()) {
    known.far_table = add_frequencies(graph, "far_inv_freq", angles.far_inv_freq);
  }
}

// How many positions stand before the step's first row, known in symbols.
ValueId past_length(Graph& graph, const ProofScope& scope) {
  ir::Value past;
  past.name = "past_length";
  past.type = ir::ElementType::i64;
  past.shape = std::vector<Expr>{};
  past.elements = std::vector<Expr>{scope.stateless ? Expr(0) : Expr::symbol("past")};
  return graph.add_value(std::move(past));
}

bool turns_by_positions(const Graph& graph, const RotaryCone& cone) {
  return std::any_of(cone.tables.begin(), cone.tables.end(),
                     [&](ValueId table) { return !is_constant(graph, table); });
}

// The angles of a cone: proven once per set of tables, compared at a small step otherwise.
const Known* prove_cone(PassContext& context, const RotaryCone& cone, const RotaryLayout& layout,
                        std::map<std::vector<ValueId>, Known>& proven) {
  const RotaryTablesAt at = rotary_tables(context.graph, cone, layout);
  const ProofScope scope = context.scope();
  const auto [entry, is_new] = proven.try_emplace(cone.tables);
  Known& known = entry->second;
  if (is_new) {
    known.rotary_dim = layout.rotary_dim;
    known.angles = prove_rotary(context.graph, at, cone.tables, scope);
    if (known.angles) add_constants(context.graph, known);
  }
  if (!known.angles || known.rotary_dim != layout.rotary_dim) return nullptr;
  for (const Step step : proof_steps(scope)) {
    const auto tables = is_new ? std::nullopt : at(step);
    if (!is_new && (!tables || !agrees(*tables, step, *known.angles))) return nullptr;
  }
  return &known;
}

}  // namespace

int fuse_rotary(PassContext& context) {
  Graph& graph = context.graph;
  std::map<std::vector<ValueId>, Known> proven;
  std::vector<bool> position_only = position_only_values(graph);
  std::vector<NodeId> order = graph.order();
  std::reverse(order.begin(), order.end());  // a whole head before the part of it that turns
  ValueId past = kAbsent;
  int hits = 0;
  for (const NodeId id : order) {
    if (!graph.alive(id) || !may_end_rotation(graph, graph.node(id))) continue;
    const std::string name = graph.node(id).name;
    position_only.resize(graph.value_count(), false);
    const auto cone = find_rotary_cone(graph, graph.node(id).outputs[0], position_only);
    if (!cone || !turns_by_positions(graph, *cone)) continue;
    const auto layout = rotary_layout(graph, *cone, context.scope());
    const Known* known = layout ? prove_cone(context, *cone, *layout, proven) : nullptr;
    if (known == nullptr) {
      context.notes.push_back("The rotation at " + name +
                              " is kept as it stands: it is no turn of pairs by an angle for each "
                              "position.");
      continue;
    }
    if (past == kAbsent) past = past_length(graph, context.scope());
    Node rotary;
    rotary.name = name;
    rotary.op = "RotaryEmbedding";
    rotary.inputs = {cone->x, past, known->table, known->far_table};
    rotary.attributes = {{"rotary_dim", layout->rotary_dim},
                         {"interleaved", int64_t{layout->interleaved ? 1 : 0}},
                         {"sequence_axis", static_cast<int64_t>(cone->sequence_axis)},
                         {"scale", static_cast<float>(known->angles->scale)},
                         {"far_scale", static_cast<float>(known->angles->far_scale)},
                         {"far_from", known->angles->far_from}};
    const std::vector<Expr> shape = *graph.value(cone->x).shape;
    graph.replace_uses(cone->out, emit(graph, std::move(rotary), shape));
    graph.remove_dead();
    ++hits;
  }
  return hits;
}

}  // namespace pocket
