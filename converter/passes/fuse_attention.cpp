// Before:  q rows -> Reshape, Transpose -> (norm) -> (rotary) -> (scale) ------------+
//          k rows -> Reshape, Transpose -> (norm) -> (rotary) -> Concat past -> ...   MatMul
//          positions ... -> masks, biases -> Add | Where <- (soft cap) <- (scale) <-----+
//                                               |
//          v rows -> ... -> Concat past -> ...  +-> Softmax -> MatMul -> Transpose, Reshape -> y
// After:   q, k, v rows, past k, past v, angles, slopes, norms -> pocket.Attention -> y, k, v
// The masks together have to be causal, perhaps with a window or with biases that are linear in the
// distance, which prove_mask.cpp shows for all positions. Everything else is a guess until the new
// node computes the same as the old ones on random rows (attention_proof.h).
#include <map>
#include <tuple>

#include "converter/passes/attention_match.h"
#include "converter/passes/attention_node.h"
#include "converter/passes/match.h"
#include "converter/passes/rewrites.h"

namespace pocket {

using ir::Graph;
using ir::kAbsent;
using ir::Node;
using ir::NodeId;
using ir::ValueId;

namespace {

// Layers share their masks: each combination is proven once.
class MaskProofs {
 public:
  explicit MaskProofs(const PassContext& context) : context_(context) {}

  const std::optional<MaskRule>& of(const std::vector<MaskTerm>& masks, int64_t heads) {
    Key key;
    for (const MaskTerm& mask : masks) key.push_back({mask.value, mask.kind, mask.factor, heads});
    const auto [entry, is_new] = proofs_.try_emplace(key);
    if (is_new) entry->second = prove_mask(context_.graph, masks, heads, context_.scope());
    return entry->second;
  }

 private:
  using Key = std::vector<std::tuple<ValueId, MaskKind, double, int64_t>>;
  const PassContext& context_;
  std::map<Key, std::optional<MaskRule>> proofs_;
};

}  // namespace

int fuse_attention(PassContext& context) {
  Graph& graph = context.graph;
  MaskProofs proofs(context);
  int hits = 0;
  for (const NodeId id : graph.order()) {
    if (!graph.alive(id)) continue;
    const std::string name = graph.node(id).name;
    const auto core = match_attention_core(graph, graph.node(id));
    if (!core) continue;
    const auto heads = match_attention_heads(graph, *core, context.stateless);
    if (!heads) continue;
    const auto& rule = proofs.of(core->masks, heads->layout.heads);
    if (!rule) {
      context.notes.push_back("The attention at " + name +
                              " is kept as it stands: its mask is not causal.");
      continue;
    }
    if (replace_attention(context, {*core, *heads, *rule}, scope_of(name))) {
      ++hits;
      graph.remove_dead();
    } else {
      context.notes.push_back("The attention at " + name +
                              " is kept as it stands: no known attention computes the same.");
    }
  }
  return hits;
}

}  // namespace pocket
