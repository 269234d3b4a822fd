// The parts of an attention block, found from its softmax outwards. What is found here is a
// guess that fuse_attention proves by evaluation before it rewrites anything.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "converter/ir/graph.h"
#include "converter/passes/head_trace.h"
#include "converter/passes/prove.h"

namespace pocket {

// softmax(cap(scale * q k^T) + masks) v with the heads of k and v possibly repeated.
struct AttentionCore {
  ir::ValueId q = ir::kAbsent;       // [.., tokens, head_dim], what stands before are heads
  ir::ValueId keys = ir::kAbsent;    // [.., head_dim, length]
  ir::ValueId values = ir::kAbsent;  // [.., length, head_dim]
  ir::ValueId out = ir::kAbsent;     // [.., tokens, head_dim]
  double scale = 1.0;
  double soft_cap = 0.0;  // cap(x) = soft_cap * tanh(x / soft_cap), 0: cap(x) = x
  std::vector<MaskTerm> masks;
};
std::optional<AttentionCore> match_attention_core(const ir::Graph&, const ir::Node& softmax);

// Where the heads lie in the rows that they are made of: element i of head h is column
// [h * head_dim + i] of the row.
using Columns = std::vector<int64_t>;
struct HeadLayout {
  int64_t heads = 0, kv_heads = 0, head_dim = 0;
  Columns q, k, v;
};
struct AttentionHeads {
  HeadTrace q, k, v;
  HeadLayout layout;
};
std::optional<AttentionHeads> match_attention_heads(const ir::Graph&, const AttentionCore&,
                                                    bool stateless);

// The rows [.., tokens, heads * head_dim] that the heads of the result are merged into; kAbsent
// when something else reads them.
ir::ValueId merged_rows(const ir::Graph&, ir::ValueId out, int64_t width);

}  // namespace pocket
