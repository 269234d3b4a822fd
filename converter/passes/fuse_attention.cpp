// Before:  q rows -> Reshape, Transpose -> (rotary) -> (scale) --------------------+
//          k rows -> Reshape, Transpose -> (rotary) -> Concat past -> (repeat)      MatMul
//                                                      -> Transpose -> (scale) ----+  |
//          positions ... -> mask ----------------------------------------------> Add | Where
//                                                                                     |
//          v rows -> Reshape, Transpose -> Concat past -> (repeat) --> MatMul <- Softmax
//                                     y <- Reshape <- Transpose <------+
// After:   q, k, v rows, past k, past v, inv_freq -> pocket.Attention -> y, present k, present v
// Requires that the masks together are exactly causal, proven by evaluation (prove.h); a graph
// whose mask says anything else keeps its operators.
#include <map>

#include "converter/passes/attention_match.h"
#include "converter/passes/match.h"
#include "converter/passes/rewrites.h"

namespace pocket {

using ir::Graph;
using ir::kAbsent;
using ir::Node;
using ir::NodeId;
using ir::ValueId;

namespace {

struct AttentionMatch {
  AttentionCore core;
  HeadSource q, k, v;
  StateAppend key_state, value_state;
  ValueId out = kAbsent;
};

bool same_rotation(const Node* a, const Node* b) {
  if (a == nullptr || b == nullptr) return a == b;
  return a->inputs[3] == b->inputs[3] && a->real("scale", 1.0f) == b->real("scale", 1.0f) &&
         a->integer("interleaved", 0) == b->integer("interleaved", 0) &&
         a->integer("rotary_dim", 0) == b->integer("rotary_dim", 0);
}

std::optional<AttentionMatch> match_attention(const Graph& graph, const Node& softmax) {
  auto core = match_attention_core(graph, softmax);
  if (!core) return std::nullopt;
  const auto key_state = match_state(graph, core->keys);
  const auto value_state = match_state(graph, core->values);
  if (!key_state || !value_state) return std::nullopt;
  const auto q = match_heads(graph, core->q);
  const auto k = match_heads(graph, key_state->fresh);
  const auto v = match_heads(graph, value_state->fresh);
  const ValueId out = merged_heads(graph, core->out);
  if (!q || !k || !v || out == kAbsent) return std::nullopt;
  const bool sizes_fit = k->heads == v->heads && q->head_dim == k->head_dim &&
                         k->head_dim == v->head_dim && k->heads > 0 && q->heads % k->heads == 0;
  if (!sizes_fit || v->rotary != nullptr || !same_rotation(q->rotary, k->rotary)) {
    return std::nullopt;
  }
  return AttentionMatch{*core, *q, *k, *v, *key_state, *value_state, out};
}

Node attention_node(const AttentionMatch& match, const std::string& name) {
  Node node;
  node.name = name;
  node.op = "Attention";
  node.domain = "pocket";
  node.inputs = {match.q.rows,           match.k.rows,
                 match.v.rows,           match.key_state.past,
                 match.value_state.past, match.q.rotary ? match.q.rotary->inputs[3] : kAbsent};
  node.attributes = {{"heads", match.q.heads},
                     {"kv_heads", match.k.heads},
                     {"head_dim", match.q.head_dim},
                     {"q_column", match.q.column},
                     {"k_column", match.k.column},
                     {"v_column", match.v.column},
                     {"scale", static_cast<float>(match.core.scale)}};
  if (match.q.rotary != nullptr) {
    for (const char* key : {"rotary_dim", "interleaved"}) {
      node.attributes[key] = match.q.rotary->attributes.at(key);
    }
    node.attributes["rotary_scale"] = match.q.rotary->attributes.at("scale");
  }
  return node;
}

bool rewrite(Graph& graph, const AttentionMatch& match, const std::string& name) {
  const std::vector<Expr> heads = *graph.value(match.core.out).shape;  // [1, heads, tokens, dim]
  const NodeId id = graph.add_node(attention_node(match, name));
  const auto add = [&](const std::vector<Expr>& shape, const std::string& suffix) {
    const ValueId made = graph.add_output(id, name + suffix, ir::ElementType::f32);
    graph.value(made).shape = shape;
    return made;
  };
  const ValueId rows = add({heads[0], heads[2], Expr(match.q.heads * match.q.head_dim)}, "/heads");
  const ValueId keys = add(*graph.value(match.core.keys).shape, "/present_key");
  const ValueId values = add(*graph.value(match.core.values).shape, "/present_value");
  const auto out = same_shape(graph, rows, match.out)
                       ? rows
                       : emit_reshape(graph, name + "/rows", rows, *graph.value(match.out).shape);
  if (!out) {
    graph.erase(id);
    return false;
  }
  graph.replace_uses(match.out, *out);
  graph.replace_uses(match.core.keys, keys);
  graph.replace_uses(match.core.values, values);
  return true;
}

}  // namespace

int fuse_attention(PassContext& context) {
  Graph& graph = context.graph;
  std::map<std::pair<ValueId, MaskKind>, MaskProof> proofs;
  const auto proof_of = [&](const AttentionCore::Mask& mask) {
    const auto [entry, is_new] = proofs.try_emplace({mask.value, mask.kind}, MaskProof::other);
    if (is_new) {
      entry->second = prove_mask(graph, mask.value, mask.kind, context.options.max_context);
    }
    return entry->second;
  };
  int hits = 0;
  for (const NodeId id : graph.order()) {
    if (!graph.alive(id)) continue;
    const std::string name = graph.node(id).name;
    const auto match = match_attention(graph, graph.node(id));
    if (!match) continue;
    bool causal = false, provable = true;
    for (const AttentionCore::Mask& mask : match->core.masks) {
      const MaskProof proof = proof_of(mask);
      causal = causal || proof == MaskProof::causal;
      provable = provable && proof != MaskProof::other;
    }
    if (!causal || !provable) {
      context.notes.push_back("The attention at " + name +
                              " is kept as it stands: its mask is not causal.");
      continue;
    }
    hits += rewrite(graph, *match, scope_of(name)) ? 1 : 0;
    graph.remove_dead();
  }
  return hits;
}

}  // namespace pocket
