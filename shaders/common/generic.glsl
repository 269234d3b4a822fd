// What the kernels of generic operators share: the parameter block of the step, its views, loads and
// stores of any element type. Twin of runtime/kernels/generic_block.h; runtime/program/generic.h
// says what a step is.
layout(constant_id = 1) const uint FUNCTION = 0u;  // pocket::GenericFunction
layout(constant_id = 2) const uint INTEGER = 0u;   // computes in i32, else f32
layout(constant_id = 3) const uint OUT_TYPE = 0u;  // 0 f32, 2 i32
// 0 f32, 1 f16, 2 i32, 3 the index itself, 4 a number
layout(constant_id = 4) const uint A_TYPE = 0u;
layout(constant_id = 5) const uint B_TYPE = 4u;
layout(constant_id = 6) const uint C_TYPE = 4u;

layout(std430, binding = 1) readonly buffer Parameters { int parameters[]; };
layout(std430, binding = 2) readonly buffer A { uint a_words[]; };
layout(std430, binding = 3) readonly buffer B { uint b_words[]; };
layout(std430, binding = 4) readonly buffer C { uint c_words[]; };
layout(std430, binding = 5) writeonly buffer Out { uint out_words[]; };

const uint kRank = 8u, kScalars = 13u;
const uint kHeader = 8u, kTerms = 6u;  // words of the header; coefficients of a polynomial

// Extents, then for the output and the operands a, b, c an offset and strides, then scalars.
shared int extent[kRank];
shared ivec4 stride[kRank];  // of out, a, b, c
shared ivec4 first_place;
shared int scalar[kScalars];
uint rank, outer;  // dimensions; those before the inner ones

int polynomial(uint index) {
  int p = int(record.past), t = int(record.tokens);
  uint i = kHeader + index * kTerms;
  return parameters[i] + parameters[i + 1u] * p + parameters[i + 2u] * t +
         parameters[i + 3u] * p * p + parameters[i + 4u] * p * t + parameters[i + 5u] * t * t;
}

ivec4 polynomials(uint index) {
  return ivec4(polynomial(index), polynomial(index + kRank + 1u),
               polynomial(index + 2u * (kRank + 1u)), polynomial(index + 3u * (kRank + 1u)));
}

// Evaluates the step's parameters; every invocation of the workgroup calls it first.
void prepare() {
  rank = uint(parameters[0]);
  outer = uint(parameters[1]);
  for (uint i = gl_LocalInvocationIndex; i < kRank; i += LOCAL_SIZE) {
    extent[i] = max(polynomial(i), 0);
    stride[i] = polynomials(kRank + 1u + i);
  }
  for (uint i = gl_LocalInvocationIndex; i < kScalars; i += LOCAL_SIZE) {
    scalar[i] = polynomial(kRank + 4u * (kRank + 1u) + i);
  }
  if (gl_LocalInvocationIndex == 0u) first_place = polynomials(kRank);
  barrier();
}

// Elements of the dimensions [first, last).
uint count(uint first, uint last) {
  uint n = 1u;
  for (uint d = first; d < last; ++d) n *= uint(extent[d]);
  return n;
}

// How far element i of the dimensions [first, last) lies from their origin, in every view.
ivec4 walk(uint i, uint first, uint last) {
  if (last - first == 1u) return stride[first] * int(i);
  ivec4 sum = ivec4(0);
  for (uint d = last; d > first;) {
    --d;
    uint e = uint(extent[d]);
    sum += stride[d] * int(i % e);
    i /= e;
  }
  return sum;
}

// The largest float below 2^31 and the lowest integer bound a conversion.
int to_int(float value) {
  bool nan = (floatBitsToUint(value) & 0x7FFFFFFFu) > 0x7F800000u;
  return nan ? 0 : int(clamp(value, -2147483648.0, 2147483520.0));
}

#define ELEMENT(name, TYPE, words, number_word)                                            \
  float name##_float(int at) {                                                             \
    if (TYPE == 3u) return float(at);                                                      \
    if (TYPE == 4u) return intBitsToFloat(parameters[number_word]);                        \
    uint n = uint(words.length());                                                         \
    uint i = TYPE == 1u ? uint(at) >> 1 : uint(at);                                        \
    if (at < 0 || i >= n) return 0.0;                                                      \
    if (TYPE == 1u) return half_at(words[i], uint(at));                                    \
    return TYPE == 2u ? float(int(words[i])) : uintBitsToFloat(words[i]);                  \
  }                                                                                        \
  int name##_int(int at) {                                                                 \
    if (TYPE == 3u) return at;                                                             \
    if (TYPE != 2u) return to_int(name##_float(at));                                       \
    return at < 0 || uint(at) >= uint(words.length()) ? 0 : int(words[uint(at)]);          \
  }
ELEMENT(a, A_TYPE, a_words, 4u)
ELEMENT(b, B_TYPE, b_words, 5u)
ELEMENT(c, C_TYPE, c_words, 6u)

void store_float(int at, float value) {
  if (at < 0 || uint(at) >= uint(out_words.length())) return;
  out_words[uint(at)] = OUT_TYPE == 2u ? uint(to_int(value)) : floatBitsToUint(value);
}

void store_int(int at, int value) {
  if (at < 0 || uint(at) >= uint(out_words.length())) return;
  out_words[uint(at)] = OUT_TYPE == 2u ? uint(value) : floatBitsToUint(float(value));
}
