// The state of a step, on the device; shaders/common/step_record.glsl is its twin. Kernels advance
// it; the host writes it only while nothing is pending (DESIGN, Step record).
//
// Buffer `token_ids` holds the whole sequence: the token at position p is token_ids[p]. A step
// computes positions [past, past + tokens). Prefill: the host writes the prompt to token_ids and
// sets past, target; every chunk ends with `advance`. Decode: the sampler writes the next token to
// token_ids[past + tokens] and to ring[step % ring_size], then advances past by tokens.
#pragma once

#include <cstdint>

namespace pocket {

struct StepRecord {
  uint32_t past = 0;    // rows of the KV states that are filled
  uint32_t tokens = 0;  // valid rows of this step; rows beyond are padding and write nothing
  uint32_t target = 0;  // prefill: position after the last prompt token
  uint32_t chunk = 0;   // prefill: rows of a chunk; advance sets tokens = min(chunk, target - past)
  uint32_t head_row = 0;     // first row that select_rows reads
  uint32_t step = 0;         // tokens sampled so far
  uint32_t ring_size = 0;    // entries of the ring, a power of two
  uint32_t top_k = 1;        // 1..256; sampler settings as in runtime/text/sampler.h
  float temperature = 0.0f;  // 0: greedy
  float top_p = 1.0f;
  uint32_t seed_low = 0, seed_high = 0;
  uint32_t reserved[4] = {0, 0, 0, 0};
};
static_assert(sizeof(StepRecord) == 64);

}  // namespace pocket
