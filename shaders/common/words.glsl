// Tensors are buffers of 32-bit words: one f32 or two f16 a word, so that no 8/16-bit storage
// feature is needed. `i` counts elements; LOAD2 and STORE2 take an even i.
float half_at(uint word, uint i) {
  vec2 pair = unpackHalf2x16(word);
  return (i & 1u) == 0u ? pair.x : pair.y;
}
#define LOAD(words, is_f16, i) \
  ((is_f16) != 0u ? half_at(words[(i) >> 1], i) : uintBitsToFloat(words[i]))

// Stores elements i and i + 1; `second` is false when the row ends at i (odd f32 width).
#define STORE2(words, is_f16, i, value, second)     \
  if ((is_f16) != 0u) {                             \
    words[(i) >> 1] = packHalf2x16(value);          \
  } else {                                          \
    words[i] = floatBitsToUint((value).x);          \
    if (second) words[(i) + 1u] = floatBitsToUint((value).y); \
  }
