// A round of matmul.glsl over planes of bits: plain loads of the activations, one matrix.
uint plane_words[8u * ROWS];  // of the round, by plane and row

vec4 table_weights(uint j, uint slot) {
  uint code = 0u;
  for (uint p = 0u; p < BITS; ++p) {
    code = (code << 1) | ((((plane_words[p * ROWS + j] >> (4u * slot)) & 15u) * 0x00204081u) & 0x01010101u);
  }
  uvec4 c = (uvec4(code) >> uvec4(0u, 8u, 16u, 24u)) & 255u;
  uvec4 at = row_pairs[j] + (c >> 1);
  return vec4(half_at(table_words[at.x], c.x), half_at(table_words[at.y], c.y),
              half_at(table_words[at.z], c.z), half_at(table_words[at.w], c.w));
}

#define LOAD_PLANE(p, name)                                                              \
  if (BITS > p) {                                                                        \
    for (uint j = 0u; j < ROWS; ++j) {                                                   \
      plane_words[p * ROWS + j] = name[row_block[j] + round * row_stride[j]];            \
    }                                                                                    \
  }

void run_round(uint round) {
  uint k = 32u * round;
  LOAD_PLANE(0u, plane1)
  LOAD_PLANE(1u, plane2)
  LOAD_PLANE(2u, plane3)
  LOAD_PLANE(3u, plane4)
  LOAD_PLANE(4u, plane5)
  LOAD_PLANE(5u, plane6)
  LOAD_PLANE(6u, plane7)
  LOAD_PLANE(7u, plane8)
  [[dont_unroll]] for (uint s = 0u; s < 8u; ++s) {
    vec4 w[ROWS];
    for (uint j = 0u; j < ROWS; ++j) w[j] = table_weights(j, s);
    for (uint t = 0u; t < TOKENS; ++t) {
      vec4 a = SLOT_X(t, s, 0u);
      for (uint j = 0u; j < ROWS; ++j) { ADD_PRODUCTS(t * ROWS + j, a, w[j]) }
    }
  }
}
