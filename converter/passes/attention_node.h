// Puts a pocket.Attention in the place of an attention block that was recognised, after proving
// that it computes the same.
#pragma once

#include <string>

#include "converter/passes/attention_match.h"
#include "converter/passes/passes.h"

namespace pocket {

struct AttentionMatch {
  AttentionCore core;
  AttentionHeads heads;
  MaskRule rule;
};

// False when the block cannot be expressed or does not prove equal; the graph computes the same in
// either case. Keys and values get new states where the export keeps none.
bool replace_attention(PassContext&, const AttentionMatch&, const std::string& name);

}  // namespace pocket
