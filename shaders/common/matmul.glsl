// The inner product that gemv.comp and gemm.comp share: a lane owns ROWS weight rows (neighbouring
// pairs, so that it can store packed f16) and TOKENS activation rows, and walks the columns in
// rounds of 32. Packed weights are decoded in registers.
//
// Defines: one of ENCODING_F32, ENCODING_F16, ENCODING_INT4, ENCODING_M0E4, ENCODING_ANY; GATED for two matrices;
// MANY_ROWS: prefill, which reads the activation sums of 4-bit groups (group_sums.comp); GROUP16: groups of 16;
// SUBGROUP: lanes load distinct activations and hand them round, else every lane loads them all;
// HALF: products and their sums over one round in pairs of f16, totals in f32. TEXELS, with
// SUBGROUP: matmul_texels.glsl.
//
// 4-bit codes enter the top four fraction bits of f16 by a shift, and, or: y = 1 + q/16, exactly
// (papers.md 1.2). Per group: sum(a x) = S sum(a y) + B sum(a); the activation sum is shared by all
// rows of the lane, and in prefill, made beforehand, by all workgroups. int4 is the same with
// S = 16 scale, B = -(16 + zero point) scale.
//
// CONVERT, with ENCODING_INT4 and SUBGROUP: int4 as it is usually written. Codes are converted to float
// and lose their zero point one by one, the sum is scaled once a group. A baseline of the kernel lab.
//
// A sum in f16 holds at most 16 products and then goes to f32: it is off by at most 16 half steps of
// f16, 16/2048, of the sum of their magnitudes. Where f16 comes in PAIRED lanes the codes are centred
// for it: weights of -1/2 to 7/16 in place of 1 to 31/16, whose common part of 3/2 the bias would take
// off again, and leave errors five times as large. Elsewhere that costs an instruction a weight; sums
// hold 8 products there.
//
// Any precision (plain form only): the codes are planes of bits, most significant first, and index
// a table of the row. Four codes at a time: a nibble of each plane is spread to the low bits of four
// bytes by one multiplication.
#extension GL_EXT_control_flow_attributes : require
#ifdef HALF
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#endif
#if defined(ENCODING_INT4) || defined(ENCODING_M0E4)
#define CODES4
#ifdef MANY_ROWS
#define GIVEN_SUMS
#endif
#endif
#if !defined(TEXELS) && !defined(ENCODING_ANY)
#define RUNNING_ROWS  // row_block and row_pairs follow the columns
#endif

layout(constant_id = 1) const uint LANES = 32u;      // lanes over weight rows
layout(constant_id = 2) const uint ROWS = 2u;        // weight rows of a lane, even
layout(constant_id = 3) const uint TOKENS = 1u;      // activation rows of a lane
layout(constant_id = 4) const uint X_F16 = 0u;
layout(constant_id = 5) const uint OUT_F16 = 0u;
layout(constant_id = 6) const uint COMBINE = 0u;     // 0 none, 1 + f32, 2 + f16, 3 * f32
layout(constant_id = 7) const uint BIAS = 0u;        // 0 none, 1 f32, 2 f16
layout(constant_id = 8) const uint UP_BIAS = 0u;     // of the second matrix
layout(constant_id = 9) const uint ACTIVATION = 0u;
layout(constant_id = 10) const uint ALIGNED = 1u;    // columns divide by 4: vector loads of x; 2: by 32
layout(constant_id = 11) const uint SPREAD = 8u;     // lanes that load distinct activations: 4 or 8
#ifdef HALF
layout(constant_id = 14) const uint PAIRED = 1u;     // the device multiplies f16 in pairs
#endif

// Words of the activations, the codes and the pairs, by either kind of binding.
#ifdef TEXELS
#define QUADS(at, block, name) layout(binding = at, rgba32ui) readonly uniform uimageBuffer name;
#define WORDS(at, block, name) layout(binding = at, r32ui) readonly uniform uimageBuffer name;
#define QUAD(name, i) imageLoad(name, int(i))
#define WORD(name, i) imageLoad(name, int(i)).x
#else
#define QUADS(at, block, name) layout(std430, binding = at) readonly buffer block { uvec4 name[]; };
#define WORDS(at, block, name) layout(std430, binding = at) readonly buffer block { uint name[]; };
#define QUAD(name, i) name[i]
#define WORD(name, i) name[i]
layout(std430, binding = 1) readonly buffer X1 { uint x1[]; };
layout(std430, binding = 1) readonly buffer X2 { uvec2 x2[]; };
#endif
QUADS(1, X4, x4)
#ifdef ENCODING_ANY
layout(constant_id = 13) const uint BITS = 4u;  // planes in use, 2 to 8
layout(std430, binding = 2) readonly buffer Plane1 { uint plane1[]; };
layout(std430, binding = 6) readonly buffer Plane2 { uint plane2[]; };
layout(std430, binding = 7) readonly buffer Plane3 { uint plane3[]; };
layout(std430, binding = 8) readonly buffer Plane4 { uint plane4[]; };
layout(std430, binding = 9) readonly buffer Plane5 { uint plane5[]; };
layout(std430, binding = 10) readonly buffer Plane6 { uint plane6[]; };
layout(std430, binding = 11) readonly buffer Plane7 { uint plane7[]; };
layout(std430, binding = 12) readonly buffer Plane8 { uint plane8[]; };
layout(std430, binding = 13) readonly buffer Table { uint table_words[]; };
#else
QUADS(2, Codes, codes)
#endif
layout(std430, binding = 3) readonly buffer Bias { uint bias_words[]; };
layout(std430, binding = 4) readonly buffer Combine { uint combine_words[]; };
layout(std430, binding = 5) writeonly buffer Out { uint out_words[]; };
#ifdef GATED
#define MATRICES 2u
QUADS(6, UpCodes, up_codes)
layout(std430, binding = 7) readonly buffer UpBias { uint up_bias_words[]; };
#ifdef CODES4
WORDS(8, Pairs, pairs)
WORDS(9, UpPairs, up_pairs)
#endif
#ifdef GIVEN_SUMS
#define SUMS_BINDING 10
#endif
#else
#define MATRICES 1u
#ifdef CODES4
WORDS(6, Pairs, pairs)
#endif
#ifdef GIVEN_SUMS
#define SUMS_BINDING 7
#endif
#endif

layout(push_constant) uniform Push {
  uint columns;        // K
  uint rows;           // weight rows of this range
  uint units;          // 16-byte units of a weight row; words of a row of a plane
  uint groups;         // quantisation groups of a row
  uint group_rounds;   // rounds of 32 columns of a group
  uint tokens;         // activation rows, padding included
  uint limit_by_record;
  uint out_stride;     // elements from one output row to the next
  uint out_base;       // element of the output where this range's first row lies
  uint bias_base;      // element of the bias
  uint up_bias_base;
  uint pairs_base;     // word of the pairs, or of the table
  uint up_pairs_base;  // any precision: word of each plane
  uint combine_base;
} push;

// What loops read of the push constants, read once at the start: drivers may do it in each round.
uint columns = push.columns, units = push.units, groups = push.groups,
     group_rounds = push.group_rounds, pairs_base = push.pairs_base,
     up_pairs_base = push.up_pairs_base;
#ifdef GIVEN_SUMS
uint sums_stride = (push.tokens + 3u) & ~3u;  // from the sums of one group to those of the next
uint first_sum;                  // of the workgroup's first activation row
#endif

// Elements of a row from column k on. Columns that are whole rounds need no bound.
const bool WHOLE = ALIGNED == 2u;
uint vector_at(uint base, uint k) { return base + (WHOLE ? k : min(k, columns - 4u)); }
bool inside(uint k) { return WHOLE || k < columns; }

// Four activations of the row that starts at element `base`, from column k (a multiple of 4), zero
// beyond the last column.
#ifdef TEXELS  // rows start at whole texels
#define ACTIVATIONS vec4
vec4 load_x(uint base, uint k) {
  uint i = vector_at(base, k);
  vec4 value;
  if (X_F16 != 0u) {
    uvec4 words = QUAD(x4, i >> 3);
    uvec2 pair = (i & 4u) != 0u ? words.zw : words.xy;
    value = vec4(unpackHalf2x16(pair.x), unpackHalf2x16(pair.y));
  } else {
    value = uintBitsToFloat(QUAD(x4, i >> 2));
  }
  return inside(k) ? value : vec4(0.0);
}
#else
vec4 load_x_by_element(uint base, uint k) {
  uint last = columns - 1u;
  vec4 value = vec4(LOAD(x1, X_F16, base + min(k, last)), LOAD(x1, X_F16, base + min(k + 1u, last)),
                    LOAD(x1, X_F16, base + min(k + 2u, last)),
                    LOAD(x1, X_F16, base + min(k + 3u, last)));
  return vec4(k < columns ? value.x : 0.0, k + 1u < columns ? value.y : 0.0,
              k + 2u < columns ? value.z : 0.0, k + 3u < columns ? value.w : 0.0);
}
#ifdef HALF  // as they lie in memory: two words of two halves each, which is what lanes exchange
#define ACTIVATIONS uvec2
uvec2 to_activations(vec4 v) { return uvec2(packHalf2x16(v.xy), packHalf2x16(v.zw)); }
uvec2 load_vector(uint i) {
  if (X_F16 != 0u) return x2[i];
  return to_activations(uintBitsToFloat(x4[i]));
}
#else
#define ACTIVATIONS vec4
vec4 to_activations(vec4 v) { return v; }
vec4 load_vector(uint i) {
  if (X_F16 != 0u) {
    uvec2 words = x2[i];
    return vec4(unpackHalf2x16(words.x), unpackHalf2x16(words.y));
  }
  return uintBitsToFloat(x4[i]);
}
#endif
ACTIVATIONS load_x(uint base, uint k) {
  if (ALIGNED == 0u) return to_activations(load_x_by_element(base, k));
  ACTIVATIONS value = load_vector(vector_at(base, k) >> 2);
  return inside(k) ? value : ACTIVATIONS(0);
}
#endif

#ifdef HALF
#define WEIGHTS f16vec4
#define WEIGHT float16_t
f16vec4 from_halves(uint a, uint b) { return f16vec4(unpackFloat2x16(a), unpackFloat2x16(b)); }
f16vec4 values_of(uvec2 a) { return from_halves(a.x, a.y); }
float sum_of(f16vec4 a) {
  f16vec2 pair = a.xy + a.zw;
  return float(pair.x) + float(pair.y);
}
#else
#define WEIGHTS vec4
#define WEIGHT float
vec4 from_halves(uint a, uint b) { return vec4(unpackHalf2x16(a), unpackHalf2x16(b)); }
vec4 values_of(vec4 a) { return a; }
float sum_of(vec4 a) { return dot(a, vec4(1.0)); }
#endif

// Weights of the low and the high 16 code bits of a word: columns 0..3 and 4..7 of its eight.
#if defined(CONVERT)
WEIGHTS converted(uvec4 shifted) { return WEIGHTS(ivec4(shifted & 15u)); }
// Less the zero point of the row `j` of SLOT.
#define low_codes(w) (converted(uvec4(w, (w) >> 16, (w) >> 4, (w) >> 20)) - group_zero[j])
#define high_codes(w) (converted(uvec4((w) >> 8, (w) >> 24, (w) >> 12, (w) >> 28)) - group_zero[j])
#elif defined(TEXELS)
// The same 1 + q/16 put together as f32, which spares the conversion.
vec4 low_codes(uint w) {
  return uintBitsToFloat((uvec4(w << 19, w << 3, w << 15, w >> 1) & 0x00780000u) | 0x3F800000u);
}
vec4 high_codes(uint w) {
  return uintBitsToFloat((uvec4(w << 11, w >> 5, w << 7, w >> 9) & 0x00780000u) | 0x3F800000u);
}
#elif defined(HALF)
// PAIRED: (q - 8) / 16, exactly. The codes stay where they lie, as 1 + q/1024 and 1 + q/64, so that a
// word takes one shift.
f16vec4 centred_codes(uint w) {
  f16vec4 y = from_halves((w & 0x000F000Fu) | 0x3C003C00u, (w & 0x00F000F0u) | 0x3C003C00u);
  return f16vec4(fma(y.xy, f16vec2(64.0), f16vec2(-64.5)), fma(y.zw, f16vec2(4.0), f16vec2(-4.5)));
}
f16vec4 low_codes(uint w) {
  if (PAIRED != 0u) return centred_codes(w);
  return from_halves(((w << 6) & 0x03C003C0u) | 0x3C003C00u, ((w << 2) & 0x03C003C0u) | 0x3C003C00u);
}
f16vec4 high_codes(uint w) {
  if (PAIRED != 0u) return centred_codes(w >> 8);
  return from_halves(((w >> 2) & 0x03C003C0u) | 0x3C003C00u, ((w >> 6) & 0x03C003C0u) | 0x3C003C00u);
}
#else
vec4 low_codes(uint w) {
  return from_halves(((w << 6) & 0x03C003C0u) | 0x3C003C00u, ((w << 2) & 0x03C003C0u) | 0x3C003C00u);
}
vec4 high_codes(uint w) {
  return from_halves(((w >> 2) & 0x03C003C0u) | 0x3C003C00u, ((w >> 6) & 0x03C003C0u) | 0x3C003C00u);
}
#endif

// Where the lane's rows lie: row r of `row_of` as an index into the codes, the distance between its
// units, and the pairs.
uint row_block[ROWS];
uint row_stride[ROWS];
uint row_pairs[ROWS];
#ifdef RUNNING_ROWS  // the odd row of two lies beside the even one, or is the same at the end
uint row_next[ROWS / 2u];
#define ROW_AT(place, j) (place[(j) & ~1u] + ((j) & 1u) * row_next[(j) >> 1])
#define EVEN_ROWS(j) for (uint j = 0u; j < ROWS; j += 2u)
#endif
uint row_of(uint first, uint lane, uint j) { return first + 2u * (lane + (j >> 1) * LANES) + (j & 1u); }

void locate_rows(uint first, uint lane) {
  for (uint j = 0u; j < ROWS; ++j) {
    uint n = min(row_of(first, lane, j), push.rows - 1u);
    uint block = n & ~31u;
    row_block[j] = block * units + (n & 31u);
    row_stride[j] = min(32u, push.rows - block);
#ifdef ENCODING_ANY
    row_block[j] += up_pairs_base;
    row_pairs[j] = pairs_base + (n << (BITS - 1u));
#else
    row_pairs[j] = block * groups + (n & 31u);
#endif
  }
#ifdef RUNNING_ROWS
  for (uint j = 0u; j < ROWS; j += 2u) row_next[j >> 1] = row_block[j + 1u] - row_block[j];
#endif
}

const uint ALL_ROWS = MATRICES * ROWS;  // the second matrix's after the first's
uint cell_of(uint j, uint t) { return (j / ROWS * TOKENS + t) * ROWS + j % ROWS; }
float total[ALL_ROWS * TOKENS];
#ifdef CODES4
float group_sum[TOKENS];  // activations of the group; CONVERT: zero
#if defined(GROUP16) && defined(SUBGROUP) && !defined(GIVEN_SUMS)
float high_group_sum[TOKENS];  // of the round's second group
#endif
#ifdef CONVERT
WEIGHT group_zero[ALL_ROWS];
#endif
#if defined(HALF) || defined(CONVERT)
uint group_pair[ALL_ROWS];
#endif
#ifndef HALF
float group_total[ALL_ROWS * TOKENS];
#endif
#endif
#ifdef HALF
f16vec2 partial[ALL_ROWS * TOKENS];  // of even columns, of odd ones
#endif
uint token_base[TOKENS];  // first elements of the lane's activation rows, clamped to valid ones
#ifdef SUBGROUP
ACTIVATIONS own[TOKENS], own_high[TOKENS];
#endif

// Activations 4 * slot .. 4 * slot + 3 of the round. With 4 lanes the upper half lies in own_high.
#if defined(TEXELS)
#define SLOT_X(t, slot, id4)                                                                    \
  (SPREAD == 4u ? subgroupShuffle((slot) < 4u ? own[t] : own_high[t], (slot) & 3u)             \
                : subgroupShuffle(own[t], slot))
#elif defined(SUBGROUP)
#define HANDED(low, high, slot, id4) \
  (SPREAD == 4u ? subgroupBroadcast((slot) < 4u ? low : high, id4) : subgroupBroadcast(low, slot))
#ifdef HALF
#define SLOT_X(t, slot, id4) values_of(HANDED(own[t], own_high[t], slot, id4))
#else
#define SLOT_X(t, slot, id4) HANDED(own[t], own_high[t], slot, id4)
#endif
#else
#define SLOT_X(t, slot, id4) values_of(load_x(token_base[t], k + 4u * (slot)))
#endif

// Four products of a cell. In halves they come in pairs.
#ifdef HALF
#define ADD_PRODUCTS(cell, four, weights)                           \
  partial[cell] = fma((four).xy, (weights).xy, partial[cell]);      \
  partial[cell] = fma((four).zw, (weights).zw, partial[cell]);
#else
#ifdef CODES4
#define SUMS group_total
#else
#define SUMS total
#endif
#define ADD_PRODUCTS(cell, four, weights)                           \
  SUMS[cell] = fma((four).x, (weights).x, SUMS[cell]);              \
  SUMS[cell] = fma((four).y, (weights).y, SUMS[cell]);              \
  SUMS[cell] = fma((four).z, (weights).z, SUMS[cell]);              \
  SUMS[cell] = fma((four).w, (weights).w, SUMS[cell]);
#endif

#ifdef SUBGROUP
#ifdef TEXELS
#define OF_LANE(value, lane) subgroupShuffle(value, lane)
#else
#define OF_LANE(value, lane) subgroupBroadcast(value, lane)
#endif
// The lane's own activations of a round, and their sum over the lanes.
uint own_column = 4u * (gl_SubgroupInvocationID & (SPREAD - 1u));
#ifndef TEXELS
uint own_vector[TOKENS];  // of the first round
#endif
void load_own(uint round) {
  uint k = 32u * round + own_column;
  for (uint t = 0u; t < TOKENS; ++t) {
#ifndef TEXELS
    if (WHOLE) {
      own[t] = load_vector(own_vector[t] + 8u * round);
      if (SPREAD == 4u) own_high[t] = load_vector(own_vector[t] + 8u * round + 4u);
      continue;
    }
#endif
    own[t] = load_x(token_base[t], k);
    if (SPREAD == 4u) own_high[t] = load_x(token_base[t], k + 16u);
  }
#if defined(GIVEN_SUMS) || defined(CONVERT)
#elif defined(GROUP16)
  for (uint t = 0u; t < TOKENS; ++t) {
    float low = sum_of(values_of(own[t])), high = low;
    if (SPREAD == 4u) high = sum_of(values_of(own_high[t]));
    group_sum[t] = OF_LANE(low, 0u) + OF_LANE(low, 1u) + OF_LANE(low, 2u) + OF_LANE(low, 3u);
    high_group_sum[t] = SPREAD == 4u ? OF_LANE(high, 0u) + OF_LANE(high, 1u) + OF_LANE(high, 2u) + OF_LANE(high, 3u)
                                     : OF_LANE(high, 4u) + OF_LANE(high, 5u) + OF_LANE(high, 6u) + OF_LANE(high, 7u);
  }
#elif defined(CODES4)
  for (uint t = 0u; t < TOKENS; ++t) {
    float all = sum_of(values_of(own[t]));
    if (SPREAD == 4u) all += sum_of(values_of(own_high[t]));
#ifdef TEXELS
    all += subgroupShuffleXor(all, 1u);
    all += subgroupShuffleXor(all, 2u);
    if (SPREAD != 4u) all += subgroupShuffleXor(all, 4u);
#else  // Mali's compiler makes a loop over the lanes of a shuffle
    float s = all;
    all = subgroupBroadcast(s, 0u) + subgroupBroadcast(s, 1u) + subgroupBroadcast(s, 2u) +
          subgroupBroadcast(s, 3u);
    if (SPREAD != 4u) all += subgroupBroadcast(s, 4u) + subgroupBroadcast(s, 5u) +
                             subgroupBroadcast(s, 6u) + subgroupBroadcast(s, 7u);
#endif
    group_sum[t] += all;
  }
#endif
}
#endif

#ifdef CODES4
// What the sums over a group are multiplied by: of the products, and of the activations.
vec2 scale_bias(uint word) {
  vec2 pair = unpackHalf2x16(word);
#ifdef HALF
  const float centre = PAIRED != 0u ? 1.5 : 0.0;
#else
  const float centre = 0.0;
#endif
#if defined(CONVERT)
  pair.y = 0.0;
#elif defined(ENCODING_INT4)
  pair = vec2(16.0 * pair.x, (16.0 * centre - 16.0 - pair.y) * pair.x);
#else
  pair.y += centre * pair.x;
#endif
  return pair;
}
#endif

void begin_totals() {
  for (uint i = 0u; i < ALL_ROWS * TOKENS; ++i) total[i] = 0.0;
#if defined(SUBGROUP) && !defined(TEXELS)
  for (uint t = 0u; t < TOKENS; ++t) own_vector[t] = (token_base[t] + own_column) >> 2;
#endif
}

#ifdef GROUP16
void fold(uint round, uint half_round);  // of matmul_group16.glsl
#endif
#if defined(ENCODING_ANY)
#include "common/matmul_planes.glsl"
#elif defined(TEXELS)
#include "common/matmul_texels.glsl"
#else
#include "common/matmul_round.glsl"
#endif

#include "common/matmul_columns.glsl"
#include "common/epilogue.glsl"
