// Prefill with 8-bit weights and activations: a register tile of TOKENS activation rows x ROWS weight
// rows a lane. A workgroup owns LANES * ROWS weight rows and TOKENS activation rows; one wholly in
// the padding returns at once. Bound by arithmetic.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/subgroup.glsl"
#include "common/local_size.glsl"
#include "common/step_record.glsl"
#include "common/words.glsl"
#include "common/activation.glsl"
#include "common/w8a8.glsl"

void main() {
  uint lane = gl_LocalInvocationIndex;
  uint first = gl_WorkGroupID.x * LANES * ROWS;
  uint first_token = gl_WorkGroupID.y * TOKENS;
  uint limit = push.limit_by_record != 0u ? min(record.tokens, push.tokens) : push.tokens;
  if (first_token >= limit) return;  // uniform over the workgroup
  for (uint t = 0u; t < TOKENS; ++t) token_base[t] = min(first_token + t, limit - 1u) * units;
  locate_rows(first, lane);
  inner_product(0u, 1u);
  for (uint t = 0u; t < TOKENS; ++t) {
    if (first_token + t >= limit) continue;
    for (uint j = 0u; j < ROWS; j += 2u) {
      uint cell = t * ROWS + j;
#ifdef GATED
      ivec2 up = ivec2(total[TOKENS * ROWS + cell], total[TOKENS * ROWS + cell + 1u]);
#else
      ivec2 up = ivec2(0);
#endif
      store_sums(row_of(first, lane, j), first_token + t, ivec2(total[cell], total[cell + 1u]), up);
    }
  }
}
