// A prompt may be computed in one call or in several: the engine prefills in chunks. Fused
// attention is causal by proof; a block that runs as generic operators follows its graph, whatever
// that is. So a model with such blocks is computed both ways before it is written.
#pragma once

#include "converter/ir/graph.h"

namespace pocket {

// Logits of a few fixed tokens in one call against the same in calls of several lengths, by the
// reference executor. Throws Error(bad_input) when they differ: the model looks ahead, or counts
// from the beginning of a call.
void require_chunks_agree(const ir::Graph&);

}  // namespace pocket
