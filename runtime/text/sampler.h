// The host oracle of the GPU sampler: equal ids for equal logits.
//
// Definition, to which the shader is written as well. l[i] are the logits, float32; NaN counts as
// -inf throughout.
//
//  greedy (temperature <= 0): the id of the largest logit; the lowest id wins ties.
//
//  otherwise
//   1. Candidates: the k = min(top_k, vocabulary) best ids, sorted by (logit descending, id
//      ascending); top_k 0 means 256. c[0..k) are their logits.
//   2. p[i] = exp((c[i] - c[0]) / temperature), so p[0] = 1. Where c[i] is -inf, p[i] = 0, also
//      when c[0] is -inf (then p[0] = 1 alone); +inf equals itself: p[i] = 1 where c[i] = c[0].
//      total = ((p[0] + p[1]) + p[2]) + ... in float, in that order.
//   3. top_p: the smallest n >= 1 whose running sum (same order) is >= top_p * total is kept;
//      top_p >= 1 keeps all k. kept_sum is the running sum at n.
//   4. u = (Philox4x32-10(key = {seed lo, seed hi}, counter = {position lo, position hi, 0, 0})[0]
//      >> 8) * 2^-24, and threshold t = u * kept_sum.
//   5. The first i < n whose running sum is > t is chosen; if there is none, the last kept with
//      p > 0 (rounding only).
// exp may differ between host and GPU in the last bits: ids can differ only where t lies that close
// to a running sum.
#pragma once

#include <cstdint>
#include <span>

namespace pocket {

inline constexpr int kMaxTopK = 256;

struct SamplerSettings {
  float temperature = 0;  // 0 = greedy
  int top_k = 0;          // 0 means 256; at most 256
  float top_p = 1;        // in (0, 1]
  uint64_t seed = 0;
};

// Error usage, in a sentence: temperature negative or not finite, top_k outside 0..256, top_p
// outside (0, 1].
void check_sampler_settings(const SamplerSettings& settings);

// The id drawn from one row of logits (not empty, else Error bad_input). position: index in the
// sequence of the token to be chosen; equal (seed, position) give equal draws.
int32_t sample(std::span<const float> logits, const SamplerSettings& settings, uint64_t position);

}  // namespace pocket
