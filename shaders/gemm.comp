// Prefill: a register tile of TOKENS activation rows x ROWS weight rows a lane. A workgroup owns
// LANES * ROWS weight rows and TOKENS activation rows; one wholly in the padding returns at once.
// Bound by arithmetic.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/subgroup.glsl"
#include "common/local_size.glsl"
#include "common/step_record.glsl"
#include "common/words.glsl"
#include "common/activation.glsl"
#define MANY_ROWS
#include "common/matmul.glsl"

void main() {
  uint lane = gl_LocalInvocationIndex;
  uint first = gl_WorkGroupID.x * LANES * ROWS;
  uint first_token = gl_WorkGroupID.y * TOKENS;
  uint limit = push.limit_by_record != 0u ? min(record.tokens, push.tokens) : push.tokens;
  if (first_token >= limit) return;  // uniform over the workgroup
  for (uint t = 0u; t < TOKENS; ++t) {
    token_base[t] = min(first_token + t, limit - 1u) * columns;
  }
#ifdef GIVEN_SUMS
  first_sum = first_token;
#endif
  locate_rows(first, lane);
  inner_product(0u, 1u);
  for (uint t = 0u; t < TOKENS; ++t) {
    if (first_token + t >= limit) continue;
    for (uint j = 0u; j < ROWS; j += 2u) {
      uint cell = t * ROWS + j;
      vec2 value = vec2(total[cell], total[cell + 1u]);
#ifdef GATED
      vec2 up = vec2(total[TOKENS * ROWS + cell], total[TOKENS * ROWS + cell + 1u]);
#else
      vec2 up = vec2(0.0);
#endif
      store_pair(row_of(first, lane, j), first_token + t, value, up);
    }
  }
}
