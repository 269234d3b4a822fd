// The inner product of matmul.glsl with groups of 16, one matrix, sums in f32: a round of 32 columns holds two
// groups, whose sums go to the totals after its fourth slot and after its last.

// Sums of the first or the second half of the round to the totals.
void fold(uint round, uint half_round) {
#ifdef GIVEN_SUMS
  load_sums(2u * round + half_round);
#endif
  for (uint j = 0u; j < ROWS; ++j) {
    uint at = half_round * row_stride[j];
#ifdef RUNNING_ROWS
    at += ROW_AT(row_pairs, j);
#else
    at += row_pairs[j] + 2u * round * row_stride[j];
#endif
    vec2 pair = scale_bias(WORD(pairs, pairs_base + at));
    for (uint t = 0u; t < TOKENS; ++t) {
      uint cell = cell_of(j, t);
#if defined(SUBGROUP) && !defined(GIVEN_SUMS)
      float sum = half_round == 0u ? group_sum[t] : high_group_sum[t];
#else
      float sum = group_sum[t];
#endif
      total[cell] += pair.x * group_total[cell] + pair.y * sum;
      group_total[cell] = 0.0;
    }
  }
#if !defined(SUBGROUP) && !defined(GIVEN_SUMS)
  for (uint t = 0u; t < TOKENS; ++t) group_sum[t] = 0.0;
#endif
}

// Columns of split `first_split` of `splits`: rounds are dealt out in turn.
void inner_product(uint first_split, uint splits) {
  uint rounds = (columns + 31u) >> 5;
  begin_totals();
  for (uint t = 0u; t < TOKENS; ++t) group_sum[t] = 0.0;
  for (uint i = 0u; i < ALL_ROWS * TOKENS; ++i) group_total[i] = 0.0;
#ifdef RUNNING_ROWS
  EVEN_ROWS(j) {
    row_block[j] += first_split * row_stride[j];
    row_pairs[j] += 2u * first_split * row_stride[j];
  }
#endif
  for (uint round = first_split; round < rounds; round += splits) {
    run_round(round);
#ifdef RUNNING_ROWS
    EVEN_ROWS(j) {
      row_block[j] += (splits - 1u) * row_stride[j];
      row_pairs[j] += 2u * splits * row_stride[j];
    }
#endif
  }
}
