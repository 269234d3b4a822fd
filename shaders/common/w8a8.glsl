// The inner product that gemv_w8a8.comp and gemm_w8a8.comp share: signed 8-bit weights times signed
// 8-bit activations, summed exactly in 32 bits (runtime/package/w8a8.h). A lane owns ROWS weight rows
// (neighbouring pairs, so that it can store packed f16) and TOKENS activation rows, and walks the
// columns in units of 16, one 16-byte load of a weight row.
//
// Defines: GATED for two matrices. How four products are added up:
//   DOT_SIGNED  one dot product of packed signed bytes (Mali)
//   DOT_MIXED   one of signed and unsigned bytes: activation codes + 128, and 128 times the sum of the
//               row's codes is taken off the result (Adreno up to 750)
//   neither     the bytes are taken apart and multiplied one by one
// SUBGROUP: a lane loads the activations of one word in four and they are handed round. In decode it
// makes the codes on the way; otherwise, and without SUBGROUP, quantise_w8a8 has made them. TEXELS,
// with SUBGROUP: activations and codes are texels, values are handed round by shuffle.
#extension GL_EXT_control_flow_attributes : require
#if defined(DOT_SIGNED) || defined(DOT_MIXED)
#extension GL_EXT_spirv_intrinsics : require
#endif

layout(constant_id = 1) const uint LANES = 32u;      // lanes over weight rows
layout(constant_id = 2) const uint ROWS = 2u;        // weight rows of a lane, even
layout(constant_id = 3) const uint TOKENS = 1u;      // activation rows of a lane
layout(constant_id = 4) const uint X_KIND = 2u;      // 0 f32, 1 f16, 2 codes
layout(constant_id = 5) const uint OUT_F16 = 0u;
layout(constant_id = 6) const uint COMBINE = 0u;     // 0 none, 1 + f32, 2 + f16, 3 * f32
layout(constant_id = 7) const uint BIAS = 0u;        // 0 none, 1 f32, 2 f16
layout(constant_id = 8) const uint UP_BIAS = 0u;     // of the second matrix
layout(constant_id = 9) const uint ACTIVATION = 0u;
layout(constant_id = 10) const uint ALIGNED = 1u;    // columns divide by 4: vector loads of x

#ifdef TEXELS
#define QUADS(at, block, name) layout(binding = at, rgba32ui) readonly uniform uimageBuffer name;
#define QUAD(name, i) imageLoad(name, int(i))
#else
#define QUADS(at, block, name) layout(std430, binding = at) readonly buffer block { uvec4 name[]; };
#define QUAD(name, i) name[i]
layout(std430, binding = 1) readonly buffer X1 { uint x1[]; };
layout(std430, binding = 1) readonly buffer X2 { uvec2 x2[]; };
#endif
QUADS(1, X4, x4)
QUADS(2, Codes, codes)
layout(std430, binding = 3) readonly buffer Bias { uint bias_words[]; };
layout(std430, binding = 4) readonly buffer Combine { uint combine_words[]; };
layout(std430, binding = 5) writeonly buffer Out { uint out_words[]; };
#ifdef GATED
#define MATRICES 2u
QUADS(6, UpCodes, up_codes)
layout(std430, binding = 7) readonly buffer UpBias { uint up_bias_words[]; };
layout(std430, binding = 8) readonly buffer Scales { uint scales[]; };
layout(std430, binding = 9) readonly buffer UpScales { uint up_scales[]; };
#else
#define MATRICES 1u
layout(std430, binding = 6) readonly buffer Scales { uint scales[]; };
#endif

layout(push_constant) uniform Push {
  uint columns;    // K
  uint rows;       // weight rows of this range
  uint units;      // 16-byte units of a weight row, and of a row of activation codes
  float inverse;   // 1 / act_scale
  float act_scale;
  uint tokens;     // activation rows, padding included
  uint limit_by_record;
  uint out_stride; // elements from one output row to the next
  uint out_base;   // element of the output where this range's first row lies
  uint bias_base;  // element of the bias
  uint up_bias_base;
  uint scales_base;  // word of the scales where the range begins
  uint up_scales_base;
  uint combine_base;
} push;

#include "common/quantise.glsl"
#include "common/epilogue.glsl"

// What loops read of the push constants, read once at the start: drivers may do it in each round.
uint columns = push.columns, units = push.units;
float inverse = push.inverse;

#if defined(DOT_SIGNED)
spirv_instruction(extensions = ["SPV_KHR_integer_dot_product"], capabilities = [6019, 6018],
                  id = 4450)
int dot_of(int weights, int activations, spirv_literal int packed_bytes);
#define BYTES int
#define TAKE_APART(word) int(word)
#define ADD_PRODUCTS(sum, row, column) sum += dot_of(row, column, 0);
#elif defined(DOT_MIXED)
spirv_instruction(extensions = ["SPV_KHR_integer_dot_product"], capabilities = [6019, 6018],
                  id = 4452)
int dot_of(int weights, uint activations, spirv_literal int packed_bytes);
#define BYTES int
#define TAKE_APART(word) int(word)
#define ADD_PRODUCTS(sum, row, column) sum += dot_of(row, uint(column), 0);
#else
#define BYTES ivec4
ivec4 take_apart(uint word) {
  return ivec4(int(word << 24), int(word << 16), int(word << 8), int(word)) >> 24;
}
#define TAKE_APART(word) take_apart(word)
#define ADD_PRODUCTS(sum, row, column) \
  sum += column.x * row.x;             \
  sum += column.y * row.y;             \
  sum += column.z * row.z;             \
  sum += column.w * row.w;
#endif

// Codes as the products take them.
#ifdef DOT_MIXED
#define FORM(word) ((word) ^ 0x80808080u)  // + 128
#else
#define FORM(word) (word)
#endif

uint token_base[TOKENS];  // of the lane's activation rows: element, or unit of their codes

#ifdef SUBGROUP
uint component(uvec4 words, uint i) {
  uvec2 pair = (i & 2u) != 0u ? words.zw : words.xy;
  return (i & 1u) != 0u ? pair.y : pair.x;
}

// The codes of columns 16 * unit + 4 * part of activation row t.
uint load_codes(uint t, uint unit, uint part) {
#ifdef TEXELS
  if (X_KIND == 2u) return component(QUAD(x4, token_base[t] + unit), part);
#else
  if (X_KIND == 2u) return x1[4u * (token_base[t] + unit) + part];
#endif
  uint k = 16u * unit + 4u * part, last = columns - 1u;
  vec4 value;
#ifdef TEXELS
  uint i = token_base[t] + min(k, columns - 4u);
  if (X_KIND == 1u) {
    uvec4 words = QUAD(x4, i >> 3);
    uvec2 pair = (i & 4u) != 0u ? words.zw : words.xy;
    value = vec4(unpackHalf2x16(pair.x), unpackHalf2x16(pair.y));
  } else {
    value = uintBitsToFloat(QUAD(x4, i >> 2));
  }
#else
  if (ALIGNED != 0u) {
    uint i = (token_base[t] + min(k, columns - 4u)) >> 2;
    if (X_KIND == 1u) {
      uvec2 words = x2[i];
      value = vec4(unpackHalf2x16(words.x), unpackHalf2x16(words.y));
    } else {
      value = uintBitsToFloat(x4[i]);
    }
  } else {
    uint base = token_base[t];
    value = vec4(LOAD(x1, X_KIND, base + min(k, last)), LOAD(x1, X_KIND, base + min(k + 1u, last)),
                 LOAD(x1, X_KIND, base + min(k + 2u, last)),
                 LOAD(x1, X_KIND, base + min(k + 3u, last)));
  }
#endif
  // Weights beyond the last column are zero: what the activations hold there counts for nothing.
  return quantise4(value, inverse);
}
#endif

// Where the lane's rows lie: row r of `row_of` as an index into the codes, and the distance between
// its units.
uint row_block[ROWS];
uint row_stride[ROWS];
uint row_of(uint first, uint lane, uint j) { return first + 2u * (lane + (j >> 1) * LANES) + (j & 1u); }

void locate_rows(uint first, uint lane) {
  for (uint j = 0u; j < ROWS; ++j) {
    uint n = min(row_of(first, lane, j), push.rows - 1u);
    uint block = n & ~31u;
    row_block[j] = block * units + (n & 31u);
    row_stride[j] = min(32u, push.rows - block);
  }
}

int total[MATRICES * TOKENS * ROWS];
#if defined(TEXELS)
BYTES own[TOKENS];  // taken apart before they are handed round: a shuffle is one instruction
#define WORD_X(t, part, name) subgroupShuffle(own[t], part)
#elif defined(SUBGROUP)
uint own[TOKENS];
#define WORD_X(t, part, name) TAKE_APART(subgroupBroadcast(own[t], part))
#else
uvec4 own[TOKENS];
#define WORD_X(t, part, name) TAKE_APART(own[t].name)
#endif

// Four columns of one matrix.
#define PART(matrix, part, name)                                                      \
  {                                                                                   \
    BYTES row[ROWS];                                                                  \
    for (uint j = 0u; j < ROWS; ++j) row[j] = TAKE_APART(words[j].name);              \
    for (uint t = 0u; t < TOKENS; ++t) {                                              \
      BYTES a = WORD_X(t, part, name);                                                \
      for (uint j = 0u; j < ROWS; ++j) {                                              \
        ADD_PRODUCTS(total[(matrix * TOKENS + t) * ROWS + j], row[j], a)              \
      }                                                                               \
    }                                                                                 \
  }
#define UNIT(buffer, matrix)                                                          \
  {                                                                                   \
    uvec4 words[ROWS];                                                                \
    for (uint j = 0u; j < ROWS; ++j) words[j] = QUAD(buffer, row_block[j] + unit * row_stride[j]); \
    PART(matrix, 0u, x)                                                               \
    PART(matrix, 1u, y)                                                               \
    PART(matrix, 2u, z)                                                               \
    PART(matrix, 3u, w)                                                               \
  }

// Units are dealt out to the splits in turn.
void inner_product(uint first_split, uint splits) {
  for (uint i = 0u; i < MATRICES * TOKENS * ROWS; ++i) total[i] = 0;
#ifdef SUBGROUP
  uint part_of_lane = gl_SubgroupInvocationID & 3u;
#endif
  [[dont_unroll]] for (uint unit = first_split; unit < units; unit += splits) {
    for (uint t = 0u; t < TOKENS; ++t) {
#if defined(TEXELS)
      own[t] = TAKE_APART(FORM(load_codes(t, unit, part_of_lane)));
#elif defined(SUBGROUP)
      own[t] = FORM(load_codes(t, unit, part_of_lane));
#else
      own[t] = FORM(QUAD(x4, token_base[t] + unit));
#endif
    }
    UNIT(codes, 0u)
#ifdef GATED
    UNIT(up_codes, 1u)
#endif
  }
}

// The product of the scales first, and no fused multiply-add with the bias: the result is the host's
// bit for bit.
float scaled(int sum, uint scale_word, uint row_sum) {
#ifdef DOT_MIXED
  sum -= 128 * int(row_sum);
#endif
  precise float unit_step = push.act_scale * uintBitsToFloat(scale_word);
  precise float value = float(sum) * unit_step;
  return value;
}

// Stores rows n and n + 1 of activation row t from their sums; `up` is read by the gated form only.
void store_sums(uint n, uint t, ivec2 sums, ivec2 up) {
  if (n >= push.rows) return;
  uint at = push.scales_base + 2u * n, next = n + 1u < push.rows ? at + 2u : at;
  vec2 value = vec2(scaled(sums.x, scales[at], scales[at + 1u]),
                    scaled(sums.y, scales[next], scales[next + 1u]));
  vec2 second = vec2(0.0);
#ifdef GATED
  at = push.up_scales_base + 2u * n;
  next = n + 1u < push.rows ? at + 2u : at;
  second = vec2(scaled(up.x, up_scales[at], up_scales[at + 1u]),
                scaled(up.y, up_scales[next], up_scales[next + 1u]));
#endif
  store_pair(n, t, value, second);
}
