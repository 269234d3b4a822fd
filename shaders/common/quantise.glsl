// Activations to signed 8-bit codes, as runtime/package/w8a8.h has it: one step a tensor, halves to
// even, NaN to 0. Four codes a word, the first in the low byte.
uint quantise4(vec4 x, float inverse) {
  x *= inverse;
  x = mix(x, vec4(0.0), isnan(x));
  ivec4 q = ivec4(clamp(roundEven(x), vec4(-128.0), vec4(127.0))) & 255;
  return uint(q.x | (q.y << 8) | (q.z << 16) | (q.w << 24));
}
