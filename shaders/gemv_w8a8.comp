// Decode with 8-bit weights and activations: one activation row. Lanes own weight rows; the columns
// are split over SPLITS parts of the workgroup, whose sums meet in shared memory. Bound by the
// bandwidth of the weights.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/subgroup.glsl"
#include "common/local_size.glsl"
#include "common/step_record.glsl"
#include "common/words.glsl"
#include "common/activation.glsl"
#include "common/w8a8.glsl"

layout(constant_id = 12) const uint SPLITS = 1u;
shared int cells[(SPLITS - 1u) * LANES * ROWS * MATRICES + 1u];

void main() {
  uint lane = gl_LocalInvocationIndex % LANES;
  uint split = gl_LocalInvocationIndex / LANES;
  uint first = gl_WorkGroupID.x * LANES * ROWS;
  token_base[0] = 0u;
  locate_rows(first, lane);
  inner_product(split, SPLITS);
  if (SPLITS > 1u) {
    const uint parts = ROWS * MATRICES;
    if (split != 0u) {
      for (uint i = 0u; i < parts; ++i) cells[((split - 1u) * parts + i) * LANES + lane] = total[i];
    }
    barrier();
    if (split != 0u) return;  // no barrier follows
    for (uint s = 0u; s + 1u < SPLITS; ++s) {
      for (uint i = 0u; i < parts; ++i) total[i] += cells[(s * parts + i) * LANES + lane];
    }
  }
  for (uint j = 0u; j < ROWS; j += 2u) {
#ifdef GATED
    ivec2 up = ivec2(total[ROWS + j], total[ROWS + j + 1u]);
#else
    ivec2 up = ivec2(0);
#endif
    store_sums(row_of(first, lane, j), 0u, ivec2(total[j], total[j + 1u]), up);
  }
}
