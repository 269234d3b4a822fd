// The parts of an attention block, found from its softmax outwards.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "converter/ir/graph.h"
#include "converter/passes/prove.h"

namespace pocket {

// softmax(scale * q k^T + masks) v with the heads of k and v possibly repeated.
struct AttentionCore {
  ir::ValueId q = ir::kAbsent;       // [1, heads, tokens, head_dim]
  ir::ValueId keys = ir::kAbsent;    // [1, kv_heads, past + tokens, head_dim]
  ir::ValueId values = ir::kAbsent;  // the same
  ir::ValueId out = ir::kAbsent;     // [1, heads, tokens, head_dim]
  double scale = 1.0;
  struct Mask {
    ir::ValueId value = ir::kAbsent;
    MaskKind kind = MaskKind::additive;
  };
  std::vector<Mask> masks;
};
std::optional<AttentionCore> match_attention_core(const ir::Graph&, const ir::Node& softmax);

// A head tensor [1, heads, tokens, head_dim] traced back to the rows it was cut from.
struct HeadSource {
  ir::ValueId rows = ir::kAbsent;  // [.., tokens, width]
  int64_t column = 0;              // first column of the heads in a row
  int64_t heads = 0, head_dim = 0;
  const ir::Node* rotary = nullptr;  // the RotaryEmbedding on the way, or null
};
std::optional<HeadSource> match_heads(const ir::Graph&, ir::ValueId heads);

// Concat(past, fresh) along the sequence of a KV state.
struct StateAppend {
  ir::ValueId past = ir::kAbsent, fresh = ir::kAbsent;
};
std::optional<StateAppend> match_state(const ir::Graph&, ir::ValueId present);

// [1, heads, tokens, head_dim] -> Transpose -> Reshape [.., tokens, heads * head_dim]; returns the
// result, kAbsent when the heads are not simply merged.
ir::ValueId merged_heads(const ir::Graph&, ir::ValueId heads);

}  // namespace pocket
