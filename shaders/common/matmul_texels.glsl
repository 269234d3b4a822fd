// A round of matmul.glsl for devices that pay per lane for a load from a storage buffer or for a
// broadcast, or for long straight code (shaders/README.md, the software device): texels, shuffles,
// and a loop over the slots, which keeps the code within the instruction cache and its few live
// values in registers.

// Units beyond the row are read again at the last one, their activations are zero.
uint unit_of(uint u) { return WHOLE ? u : min(u, units - 1u); }
#define LOAD_UNITS(buffer, u) \
  for (uint j = 0u; j < ROWS; ++j) unit[j] = QUAD(buffer, row_block[j] + (u) * row_stride[j]);

#define SLOT(slot, matrix, weight)                                                                \
  {                                                                                               \
    vec4 w[ROWS];                                                                                 \
    for (uint j = 0u; j < ROWS; ++j) { w[j] = weight; }                                           \
    for (uint t = 0u; t < TOKENS; ++t) {                                                          \
      vec4 a = SLOT_X(t, slot, 0u);                                                               \
      for (uint j = 0u; j < ROWS; ++j) { ADD_PRODUCTS((matrix * TOKENS + t) * ROWS + j, a, w[j]) } \
    }                                                                                             \
  }

#if defined(CODES4)
#define UNITS_AHEAD(buffer) LOAD_UNITS(buffer, round)
#define SLOTS(buffer, matrix)                                                              \
  uint word[ROWS];                                                                         \
  for (uint j = 0u; j < ROWS; ++j) {                                                       \
    word[j] = s < 4u ? (s == 0u ? unit[j].x : unit[j].y) : (s == 4u ? unit[j].z : unit[j].w); \
  }                                                                                        \
  SLOT(s, matrix, low_codes(word[j]))                                                      \
  SLOT(s + 1u, matrix, high_codes(word[j]))
#elif defined(ENCODING_F16)
#define UNITS_AHEAD(buffer)
#define SLOTS(buffer, matrix)                                                              \
  LOAD_UNITS(buffer, unit_of(4u * round + (s >> 1)))                                       \
  SLOT(s, matrix, from_halves(unit[j].x, unit[j].y))                                       \
  SLOT(s + 1u, matrix, from_halves(unit[j].z, unit[j].w))
#else
#define UNITS_AHEAD(buffer)
#define SLOTS(buffer, matrix)                                                              \
  LOAD_UNITS(buffer, unit_of(8u * round + s))                                              \
  SLOT(s, matrix, uintBitsToFloat(unit[j]))                                                \
  LOAD_UNITS(buffer, unit_of(8u * round + s + 1u))                                         \
  SLOT(s + 1u, matrix, uintBitsToFloat(unit[j]))
#endif
#ifdef GROUP16
#define ROUND(buffer, matrix)                                                              \
  {                                                                                        \
    uvec4 unit[ROWS];                                                                      \
    UNITS_AHEAD(buffer)                                                                    \
    [[dont_unroll]] for (uint s = 0u; s < 4u; s += 2u) { SLOTS(buffer, matrix) }           \
    fold(round, 0u);                                                                       \
    [[dont_unroll]] for (uint s = 4u; s < 8u; s += 2u) { SLOTS(buffer, matrix) }           \
    fold(round, 1u);                                                                       \
  }
#else
#define ROUND(buffer, matrix)                                                              \
  {                                                                                        \
    uvec4 unit[ROWS];                                                                      \
    UNITS_AHEAD(buffer)                                                                    \
    [[dont_unroll]] for (uint s = 0u; s < 8u; s += 2u) { SLOTS(buffer, matrix) }           \
  }
#endif

void run_round(uint round) {
  load_own(round);
  ROUND(codes, 0u)
#ifdef GATED
  ROUND(up_codes, 1u)
#endif
}
