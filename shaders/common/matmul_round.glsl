// A round of matmul.glsl as phones run it: straight code over the slots. Rows of both matrices meet
// an activation in turn, so that it is exchanged once and lives shortly.

// Unit `u` of the round. Units beyond the row are read again at the last one, their activations are
// zero; 4-bit rows are padded to whole rounds.
#if defined(CODES4)
#define ROUND_UNITS 1u
#define UNIT_AT(j, u) ROW_AT(row_block, j)
#else
#if defined(ENCODING_F16)
#define ROUND_UNITS 4u
#else
#define ROUND_UNITS 8u
#endif
#define UNIT_AT(j, u)                                                                        \
  (ROW_AT(row_block, j) + (WHOLE ? u : min(ROUND_UNITS * round + u, units - 1u)) * row_stride[(j) & ~1u])
#endif

#ifdef GATED
#define LOAD_UNITS(u)                                            \
  for (uint j = 0u; j < ROWS; ++j) {                             \
    unit[j] = codes[UNIT_AT(j, u)];                              \
    unit[ROWS + j] = up_codes[UNIT_AT(j, u)];                    \
  }
#else
#define LOAD_UNITS(u) \
  for (uint j = 0u; j < ROWS; ++j) unit[j] = codes[UNIT_AT(j, u)];
#endif

// In decode without subgroups the activation sum of a group is made on the way.
#if defined(CODES4) && !defined(SUBGROUP) && !defined(GIVEN_SUMS)
#define ADD_TO_GROUP(t, a) group_sum[t] += sum_of(a);
#else
#define ADD_TO_GROUP(t, a)
#endif

#define SLOT(slot, id4, weight)                                                                  \
  {                                                                                              \
    WEIGHTS w[ALL_ROWS];                                                                         \
    for (uint j = 0u; j < ALL_ROWS; ++j) { w[j] = weight; }                                      \
    for (uint t = 0u; t < TOKENS; ++t) {                                                         \
      WEIGHTS a = SLOT_X(t, slot, id4);                                                          \
      ADD_TO_GROUP(t, a)                                                                         \
      for (uint j = 0u; j < ALL_ROWS; ++j) {                                                     \
        ADD_PRODUCTS(cell_of(j, t), a, w[j])                                                     \
      }                                                                                          \
    }                                                                                            \
  }

#ifdef HALF
void carry() {
  for (uint j = 0u; j < ALL_ROWS; ++j) {
    for (uint t = 0u; t < TOKENS; ++t) {
      uint cell = cell_of(j, t);
      float sum = float(partial[cell].x) + float(partial[cell].y);
#ifdef CODES4
      sum *= scale_bias(group_pair[j]).x;
#endif
      total[cell] += sum;
      partial[cell] = f16vec2(0.0);
    }
  }
}
#define MIDDLE if (PAIRED == 0u) carry();
#elif defined(GROUP16)
#define MIDDLE fold(round, 0u);
#else
#define MIDDLE
#endif

void run_round(uint round) {
  uint k = 32u * round;
#ifdef HALF
  for (uint i = 0u; i < ALL_ROWS * TOKENS; ++i) partial[i] = f16vec2(0.0);
#endif
#ifdef SUBGROUP
  load_own(round);
#endif
  uvec4 unit[ALL_ROWS];
#if defined(CODES4)
  LOAD_UNITS(0u)
  SLOT(0u, 0u, low_codes(unit[j].x))
  SLOT(1u, 1u, high_codes(unit[j].x))
  SLOT(2u, 2u, low_codes(unit[j].y))
  SLOT(3u, 3u, high_codes(unit[j].y))
  MIDDLE
  SLOT(4u, 0u, low_codes(unit[j].z))
  SLOT(5u, 1u, high_codes(unit[j].z))
  SLOT(6u, 2u, low_codes(unit[j].w))
  SLOT(7u, 3u, high_codes(unit[j].w))
#elif defined(ENCODING_F16)
#define ROUND_UNIT(u, s0, i0, s1, i1)                    \
  LOAD_UNITS(u)                                          \
  SLOT(s0, i0, from_halves(unit[j].x, unit[j].y))        \
  SLOT(s1, i1, from_halves(unit[j].z, unit[j].w))
  ROUND_UNIT(0u, 0u, 0u, 1u, 1u)
  ROUND_UNIT(1u, 2u, 2u, 3u, 3u)
  MIDDLE
  ROUND_UNIT(2u, 4u, 0u, 5u, 1u)
  ROUND_UNIT(3u, 6u, 2u, 7u, 3u)
#else
#define ROUND_UNIT(u, id4) \
  LOAD_UNITS(u)            \
  SLOT(u, id4, uintBitsToFloat(unit[j]))
  ROUND_UNIT(0u, 0u)
  ROUND_UNIT(1u, 1u)
  ROUND_UNIT(2u, 2u)
  ROUND_UNIT(3u, 3u)
  ROUND_UNIT(4u, 0u)
  ROUND_UNIT(5u, 1u)
  ROUND_UNIT(6u, 2u)
  ROUND_UNIT(7u, 3u)
#endif
#ifdef GROUP16
  fold(round, 1u);
#endif
#ifdef CODES4
  EVEN_ROWS(j) row_block[j] += row_stride[j];
#endif
#ifdef HALF
  carry();
#endif
}
