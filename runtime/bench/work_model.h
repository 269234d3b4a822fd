// Bytes and floating point operations of a measured run. The plan of a step counts attention over
// the whole KV states, since a recorded step serves every position; a report wants the rows that
// were in use.
#pragma once

#include <cstdint>

#include "runtime/engine/statistics.h"
#include "runtime/program/program.h"

namespace pocket::bench {

// Attention of all layers together.
struct AttentionShare {
  uint64_t bytes_per_row = 0;  // of K and V states, one position
  uint64_t width = 0;          // sum of heads * head_dim: 4 * width operations per query and row
};
AttentionShare attention_share(const Program&);

struct Work {
  double bytes_per_token = 0;  // decode: read and written, mean over the run
  double flops_per_token = 0;  // decode, mean over the run
  double prefill_flops = 0;    // of the whole prompt
};
// `context` rows are what the plan counted; `generated` tokens follow `prompt` ones.
Work work_of(const AttentionShare&, const StepCost& decode_step, const StepCost& prefill_chunk,
             int64_t context, int64_t chunk, int64_t prompt, int64_t generated);

}  // namespace pocket::bench
