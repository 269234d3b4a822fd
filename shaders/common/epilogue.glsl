// What follows the inner product in matrix kernels: bias, activation, residual or gate, and the
// store. Needs the constants, bindings and push constants that common/matmul.glsl and common/w8a8.glsl
// declare.

// One result of row n, activation row t.
float finish(float value, float up, uint n, uint t) {
  if (BIAS != 0u) value += LOAD(bias_words, BIAS - 1u, push.bias_base + n);
  value = activate(ACTIVATION, value);
#ifdef GATED
  if (UP_BIAS != 0u) up += LOAD(up_bias_words, UP_BIAS - 1u, push.up_bias_base + n);
  value *= up;
#else
  uint i = push.combine_base + t * push.out_stride + n;
  if (COMBINE == 1u || COMBINE == 2u) value += LOAD(combine_words, COMBINE - 1u, i);
  if (COMBINE == 3u) value *= uintBitsToFloat(combine_words[i]);
#endif
  return value;
}

// Stores results n and n + 1 of activation row t; `up` is read by the gated form only.
void store_pair(uint n, uint t, vec2 value, vec2 up) {
  if (n >= push.rows) return;
  bool second = n + 1u < push.rows;
  uint i = push.out_base + t * push.out_stride + n;
  vec2 result = vec2(finish(value.x, up.x, n, t), finish(value.y, up.y, second ? n + 1u : n, t));
  STORE2(out_words, OUT_F16, i, result, second)
}
