// The walk of matmul.glsl over the columns: group by group in 4 bits, else round by round.
#ifdef CODES4
#ifdef GIVEN_SUMS
WORDS(SUMS_BINDING, Sums, sums)
#ifdef TEXELS
const uint SUM_LOADS = (TOKENS + SPREAD - 1u) / SPREAD;
#else
layout(std430, binding = SUMS_BINDING) readonly buffer Sums2 { uvec2 sums2[]; };
layout(std430, binding = SUMS_BINDING) readonly buffer Sums4 { uvec4 sums4[]; };
#endif

// The sums of group g. Tiles may reach behind the last row; what is read there goes nowhere.
void load_sums(uint g) {
  uint at = first_sum + g * sums_stride;
#ifdef TEXELS  // a load costs more than an exchange
  float own_sum[SUM_LOADS];
  for (uint i = 0u; i < SUM_LOADS; ++i) {
    own_sum[i] = uintBitsToFloat(WORD(sums, at + i * SPREAD + (gl_SubgroupInvocationID & (SPREAD - 1u))));
  }
  for (uint t = 0u; t < TOKENS; ++t) group_sum[t] = OF_LANE(own_sum[t / SPREAD], t & (SPREAD - 1u));
#else  // phones' kernels are bound by the number of their loads; a tile begins at a multiple of its rows
  if (TOKENS % 4u == 0u) {
    for (uint t = 0u; t < TOKENS; t += 4u) {
      vec4 four = uintBitsToFloat(sums4[(at + t) >> 2]);
      group_sum[t] = four.x;
      group_sum[t + 1u] = four.y;
      group_sum[t + 2u] = four.z;
      group_sum[t + 3u] = four.w;
    }
  } else if (TOKENS % 2u == 0u) {
    for (uint t = 0u; t < TOKENS; t += 2u) {
      vec2 two = uintBitsToFloat(sums2[(at + t) >> 1]);
      group_sum[t] = two.x;
      group_sum[t + 1u] = two.y;
    }
  } else {
    for (uint t = 0u; t < TOKENS; ++t) group_sum[t] = uintBitsToFloat(sums[at + t]);
  }
#endif
}
#endif

#ifdef GROUP16
#include "common/matmul_group16.glsl"
#else
// Word of the scale and bias of group g in row j of both matrices.
uint pair_of(uint j, uint g) {
#ifdef RUNNING_ROWS
  uint at = ROW_AT(row_pairs, j % ROWS);
#else
  uint at = row_pairs[j % ROWS] + g * row_stride[j % ROWS];
#endif
#ifdef GATED
  if (j >= ROWS) return WORD(up_pairs, up_pairs_base + at);
#endif
  return WORD(pairs, pairs_base + at);
}

// Columns of split `first_split` of `splits`: groups are dealt out in turn.
void inner_product(uint first_split, uint splits) {
  uint rounds = (columns + 31u) >> 5;
  begin_totals();
#ifdef RUNNING_ROWS
  EVEN_ROWS(j) {
    row_block[j] += first_split * group_rounds * row_stride[j];
    row_pairs[j] += first_split * row_stride[j];
  }
#endif
  for (uint g = first_split; g < groups; g += splits) {
#ifndef GIVEN_SUMS
    for (uint t = 0u; t < TOKENS; ++t) group_sum[t] = 0.0;
#endif
#if defined(HALF) || defined(CONVERT)
    for (uint j = 0u; j < ALL_ROWS; ++j) group_pair[j] = pair_of(j, g);
#endif
#ifdef CONVERT
    for (uint j = 0u; j < ALL_ROWS; ++j) group_zero[j] = WEIGHT(unpackHalf2x16(group_pair[j]).y);
#endif
#ifndef HALF
    for (uint i = 0u; i < ALL_ROWS * TOKENS; ++i) group_total[i] = 0.0;
#endif
    uint end = min((g + 1u) * group_rounds, rounds);
    for (uint round = g * group_rounds; round < end; ++round) run_round(round);
#ifdef GIVEN_SUMS
    load_sums(g);
#endif
    for (uint j = 0u; j < ALL_ROWS; ++j) {
#ifdef HALF
      for (uint t = 0u; t < TOKENS; ++t) total[cell_of(j, t)] += scale_bias(group_pair[j]).y * group_sum[t];
#else
#ifdef CONVERT
      vec2 pair = scale_bias(group_pair[j]);
#else
      vec2 pair = scale_bias(pair_of(j, g));
#endif
      for (uint t = 0u; t < TOKENS; ++t) {
        uint cell = cell_of(j, t);
        total[cell] += pair.x * group_total[cell] + pair.y * group_sum[t];
      }
#endif
    }
#ifdef RUNNING_ROWS
    EVEN_ROWS(j) {
      row_pairs[j] += splits * row_stride[j];
      row_block[j] += (splits - 1u) * group_rounds * row_stride[j];
    }
#endif
  }
}
#endif
#else
// Columns of split `first_split` of `splits`: rounds are dealt out in turn.
void inner_product(uint first_split, uint splits) {
  uint rounds = (columns + 31u) >> 5;
  begin_totals();
#ifdef RUNNING_ROWS
  uint step = WHOLE ? ROUND_UNITS : 0u;
  EVEN_ROWS(j) row_block[j] += first_split * step * row_stride[j];
#endif
  for (uint round = first_split; round < rounds; round += splits) {
    run_round(round);
#ifdef RUNNING_ROWS
    EVEN_ROWS(j) row_block[j] += splits * step * row_stride[j];
#endif
  }
}
#endif
