// The inner product that gemv.comp and gemm.comp share: a lane owns ROWS weight rows (neighbouring
// pairs, so that it can store packed f16) and TOKENS activation rows, and walks the columns in
// rounds of 32. Packed weights are decoded in registers.
//
// Defines: one of ENCODING_F32, ENCODING_F16, ENCODING_INT4, ENCODING_M0E4, ENCODING_ANY; GATED for two matrices;
// SUBGROUP: lanes load distinct activations and hand them round, else every lane loads them all;
// HALF: products and their sums over one round in f16, totals in f32. TEXELS, with SUBGROUP:
// activations, codes and pairs are read as texels, values are handed round by shuffle, and a round
// is a loop over its slots: for devices that pay per lane for a load from a storage buffer or for
// a broadcast, or for long straight code (shaders/README.md, the software device).
//
// 4-bit codes enter the top four fraction bits of f16 by a shift, and, or: y = 1 + q/16, exactly
// (papers.md 1.2). Per group: sum(a x) = S sum(a y) + B sum(a); the activation sum is shared by all
// rows of the lane. int4 is the same with S = 16 scale, B = -(16 + zero point) scale.
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
layout(constant_id = 10) const uint ALIGNED = 1u;    // columns divide by 4: vector loads of x
layout(constant_id = 11) const uint SPREAD = 8u;     // lanes that load distinct activations: 4 or 8

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
#else
#define MATRICES 1u
#ifdef CODES4
WORDS(6, Pairs, pairs)
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

#ifdef TEXELS
// Four activations of the row that starts at element `base`, from column k (a multiple of 4), zero
// beyond the last column. Rows start at whole texels.
vec4 load_x(uint base, uint k) {
  uint i = base + min(k, columns - 4u);
  vec4 value;
  if (X_F16 != 0u) {
    uvec4 words = QUAD(x4, i >> 3);
    uvec2 pair = (i & 4u) != 0u ? words.zw : words.xy;
    value = vec4(unpackHalf2x16(pair.x), unpackHalf2x16(pair.y));
  } else {
    value = uintBitsToFloat(QUAD(x4, i >> 2));
  }
  return k < columns ? value : vec4(0.0);
}
#else
// Four activations of the row that starts at element `base`, from column k (a multiple of 4), zero
// beyond the last column.
vec4 load_x(uint base, uint k) {
  if (ALIGNED != 0u) {
    uint i = (base + min(k, columns - 4u)) >> 2;
    vec4 value;
    if (X_F16 != 0u) {
      uvec2 words = x2[i];
      value = vec4(unpackHalf2x16(words.x), unpackHalf2x16(words.y));
    } else {
      value = uintBitsToFloat(x4[i]);
    }
    return k < columns ? value : vec4(0.0);
  }
  uint last = columns - 1u;
  vec4 value = vec4(LOAD(x1, X_F16, base + min(k, last)), LOAD(x1, X_F16, base + min(k + 1u, last)),
                    LOAD(x1, X_F16, base + min(k + 2u, last)),
                    LOAD(x1, X_F16, base + min(k + 3u, last)));
  return vec4(k < columns ? value.x : 0.0, k + 1u < columns ? value.y : 0.0,
              k + 2u < columns ? value.z : 0.0, k + 3u < columns ? value.w : 0.0);
}
#endif

#ifdef HALF
#define PRODUCT float16_t
#define WEIGHTS f16vec4
f16vec4 from_halves(uint a, uint b) { return f16vec4(unpackFloat2x16(a), unpackFloat2x16(b)); }
#define ACTIVATIONS(a) f16vec4(a)
#else
#define PRODUCT float
#define WEIGHTS vec4
vec4 from_halves(uint a, uint b) { return vec4(unpackHalf2x16(a), unpackHalf2x16(b)); }
#define ACTIVATIONS(a) (a)
#endif

// Weights of the low and the high 16 code bits of a word: columns 0..3 and 4..7 of its eight.
#ifdef TEXELS
// The same 1 + q/16 put together as f32, which spares the conversion.
vec4 low_codes(uint w) {
  return uintBitsToFloat((uvec4(w << 19, w << 3, w << 15, w >> 1) & 0x00780000u) | 0x3F800000u);
}
vec4 high_codes(uint w) {
  return uintBitsToFloat((uvec4(w << 11, w >> 5, w << 7, w >> 9) & 0x00780000u) | 0x3F800000u);
}
#else
WEIGHTS low_codes(uint w) {
  return from_halves(((w << 6) & 0x03C003C0u) | 0x3C003C00u, ((w << 2) & 0x03C003C0u) | 0x3C003C00u);
}
WEIGHTS high_codes(uint w) {
  return from_halves(((w >> 2) & 0x03C003C0u) | 0x3C003C00u, ((w >> 6) & 0x03C003C0u) | 0x3C003C00u);
}
#endif

// Where the lane's rows lie: row r of `row_of` as an index into the codes, the distance between its
// units, and the pairs.
uint row_block[ROWS];
uint row_stride[ROWS];
uint row_pairs[ROWS];
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
}

float total[MATRICES * TOKENS * ROWS];
#ifdef CODES4
float group_total[MATRICES * TOKENS * ROWS];
float group_sum[TOKENS];  // activations of the group
#define CURRENT group_total
#else
#define CURRENT total
#endif
#ifdef HALF
PRODUCT partial[MATRICES * TOKENS * ROWS];  // of one round
#else
#define partial CURRENT
#endif
uint token_base[TOKENS];  // first elements of the lane's activation rows, clamped to valid ones
#ifdef SUBGROUP
vec4 own[TOKENS], own_high[TOKENS];
#endif

// Activations 4 * slot .. 4 * slot + 3 of the round. With 4 lanes the upper half lies in own_high.
#if defined(TEXELS)
#define SLOT_X(t, slot, id4)                                                                    \
  (SPREAD == 4u ? subgroupShuffle((slot) < 4u ? own[t] : own_high[t], (slot) & 3u)             \
                : subgroupShuffle(own[t], slot))
#elif defined(SUBGROUP)
#define SLOT_X(t, slot, id4) \
  (SPREAD == 4u ? subgroupBroadcast((slot) < 4u ? own[t] : own_high[t], id4) \
                : subgroupBroadcast(own[t], slot))
#else
#define SLOT_X(t, slot, id4) load_x(token_base[t], k + 4u * (slot))
#endif

// Without subgroups the activation sum of a group is made on the way.
#if defined(CODES4) && !defined(SUBGROUP)
#define ADD_TO_GROUP(matrix, t, a) if (matrix == 0u) group_sum[t] += dot(a, vec4(1.0));
#else
#define ADD_TO_GROUP(matrix, t, a)
#endif

#define SLOT(slot, id4, matrix, weight)                                                    \
  {                                                                                        \
    WEIGHTS w[ROWS];                                                                       \
    for (uint j = 0u; j < ROWS; ++j) { w[j] = weight; }                                    \
    for (uint t = 0u; t < TOKENS; ++t) {                                                   \
      vec4 a32 = SLOT_X(t, slot, id4);                                                     \
      ADD_TO_GROUP(matrix, t, a32)                                                         \
      WEIGHTS a = ACTIVATIONS(a32);                                                        \
      for (uint j = 0u; j < ROWS; ++j) {                                                   \
        uint cell = (matrix * TOKENS + t) * ROWS + j;                                      \
        partial[cell] = fma(a.x, w[j].x, partial[cell]);                                   \
        partial[cell] = fma(a.y, w[j].y, partial[cell]);                                   \
        partial[cell] = fma(a.z, w[j].z, partial[cell]);                                   \
        partial[cell] = fma(a.w, w[j].w, partial[cell]);                                   \
      }                                                                                    \
    }                                                                                      \
  }

// One round of 32 columns of one matrix. `unit0` is the round's first unit; units beyond the row
// are read again at the last one, their activations are zero.
#define LOAD_UNITS(buffer, u) \
  for (uint j = 0u; j < ROWS; ++j) { \
    unit[j] = QUAD(buffer, row_block[j] + min(u, units - 1u) * row_stride[j]); \
  }

#if defined(ENCODING_ANY)
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
#define ROUND(buffer, matrix)                                                            \
  LOAD_PLANE(0u, plane1)                                                                 \
  LOAD_PLANE(1u, plane2)                                                                 \
  LOAD_PLANE(2u, plane3)                                                                 \
  LOAD_PLANE(3u, plane4)                                                                 \
  LOAD_PLANE(4u, plane5)                                                                 \
  LOAD_PLANE(5u, plane6)                                                                 \
  LOAD_PLANE(6u, plane7)                                                                 \
  LOAD_PLANE(7u, plane8)                                                                 \
  [[dont_unroll]] for (uint s = 0u; s < 8u; ++s) { SLOT(s, 0u, matrix, table_weights(j, s)) }
#elif defined(TEXELS)
// A loop keeps the code within the instruction cache, and its few live values in registers.
#if defined(CODES4)
#define UNITS_AHEAD(buffer) LOAD_UNITS(buffer, round)
#define SLOTS(buffer, matrix)                                                              \
  uint word[ROWS];                                                                         \
  for (uint j = 0u; j < ROWS; ++j) {                                                       \
    word[j] = s < 4u ? (s == 0u ? unit[j].x : unit[j].y) : (s == 4u ? unit[j].z : unit[j].w); \
  }                                                                                        \
  SLOT(s, 0u, matrix, low_codes(word[j]))                                                  \
  SLOT(s + 1u, 0u, matrix, high_codes(word[j]))
#elif defined(ENCODING_F16)
#define UNITS_AHEAD(buffer)
#define SLOTS(buffer, matrix)                                                              \
  LOAD_UNITS(buffer, 4u * round + (s >> 1))                                                \
  SLOT(s, 0u, matrix, from_halves(unit[j].x, unit[j].y))                                   \
  SLOT(s + 1u, 0u, matrix, from_halves(unit[j].z, unit[j].w))
#else
#define UNITS_AHEAD(buffer)
#define SLOTS(buffer, matrix)                                                              \
  LOAD_UNITS(buffer, 8u * round + s)                                                       \
  SLOT(s, 0u, matrix, uintBitsToFloat(unit[j]))                                            \
  LOAD_UNITS(buffer, 8u * round + s + 1u)                                                  \
  SLOT(s + 1u, 0u, matrix, uintBitsToFloat(unit[j]))
#endif
#define ROUND(buffer, matrix)                                                              \
  {                                                                                        \
    uvec4 unit[ROWS];                                                                      \
    UNITS_AHEAD(buffer)                                                                    \
    [[dont_unroll]] for (uint s = 0u; s < 8u; s += 2u) { SLOTS(buffer, matrix) }           \
  }
#elif defined(CODES4)
#define ROUND(buffer, matrix)                        \
  {                                                  \
    uvec4 unit[ROWS];                                \
    LOAD_UNITS(buffer, round)                        \
    SLOT(0u, 0u, matrix, low_codes(unit[j].x))       \
    SLOT(1u, 1u, matrix, high_codes(unit[j].x))      \
    SLOT(2u, 2u, matrix, low_codes(unit[j].y))       \
    SLOT(3u, 3u, matrix, high_codes(unit[j].y))      \
    SLOT(4u, 0u, matrix, low_codes(unit[j].z))       \
    SLOT(5u, 1u, matrix, high_codes(unit[j].z))      \
    SLOT(6u, 2u, matrix, low_codes(unit[j].w))       \
    SLOT(7u, 3u, matrix, high_codes(unit[j].w))      \
  }
#elif defined(ENCODING_F16)
#define ROUND_UNIT(buffer, matrix, u, s0, i0, s1, i1)                 \
  LOAD_UNITS(buffer, 4u * round + u)                                  \
  SLOT(s0, i0, matrix, from_halves(unit[j].x, unit[j].y))             \
  SLOT(s1, i1, matrix, from_halves(unit[j].z, unit[j].w))
#define ROUND(buffer, matrix)                         \
  {                                                   \
    uvec4 unit[ROWS];                                 \
    ROUND_UNIT(buffer, matrix, 0u, 0u, 0u, 1u, 1u)    \
    ROUND_UNIT(buffer, matrix, 1u, 2u, 2u, 3u, 3u)    \
    ROUND_UNIT(buffer, matrix, 2u, 4u, 0u, 5u, 1u)    \
    ROUND_UNIT(buffer, matrix, 3u, 6u, 2u, 7u, 3u)    \
  }
#else
#define ROUND_UNIT(buffer, matrix, u, id4)            \
  LOAD_UNITS(buffer, 8u * round + u)                  \
  SLOT(u, id4, matrix, WEIGHTS(uintBitsToFloat(unit[j])))
#define ROUND(buffer, matrix)                         \
  {                                                   \
    uvec4 unit[ROWS];                                 \
    ROUND_UNIT(buffer, matrix, 0u, 0u)                \
    ROUND_UNIT(buffer, matrix, 1u, 1u)                \
    ROUND_UNIT(buffer, matrix, 2u, 2u)                \
    ROUND_UNIT(buffer, matrix, 3u, 3u)                \
    ROUND_UNIT(buffer, matrix, 4u, 0u)                \
    ROUND_UNIT(buffer, matrix, 5u, 1u)                \
    ROUND_UNIT(buffer, matrix, 6u, 2u)                \
    ROUND_UNIT(buffer, matrix, 7u, 3u)                \
  }
#endif

void run_round(uint round) {
  uint k = 32u * round;
#ifdef HALF
  for (uint i = 0u; i < MATRICES * TOKENS * ROWS; ++i) partial[i] = PRODUCT(0.0);
#endif
#ifdef SUBGROUP
  uint lane = gl_SubgroupInvocationID & (SPREAD - 1u);
  for (uint t = 0u; t < TOKENS; ++t) {
    own[t] = load_x(token_base[t], k + 4u * lane);
    if (SPREAD == 4u) own_high[t] = load_x(token_base[t], k + 16u + 4u * lane);
  }
#endif
#if defined(CODES4) && defined(SUBGROUP)
  for (uint t = 0u; t < TOKENS; ++t) {
    float all = dot(own[t], vec4(1.0));
    if (SPREAD == 4u) all += dot(own_high[t], vec4(1.0));
#ifdef TEXELS
    all += subgroupShuffleXor(all, 1u);
    all += subgroupShuffleXor(all, 2u);
    if (SPREAD != 4u) all += subgroupShuffleXor(all, 4u);
#else
    float s = all;
    all = subgroupBroadcast(s, 0u) + subgroupBroadcast(s, 1u) + subgroupBroadcast(s, 2u) +
          subgroupBroadcast(s, 3u);
    if (SPREAD != 4u) all += subgroupBroadcast(s, 4u) + subgroupBroadcast(s, 5u) +
                             subgroupBroadcast(s, 6u) + subgroupBroadcast(s, 7u);
#endif
    group_sum[t] += all;
  }
#endif
  ROUND(codes, 0u)
#ifdef GATED
  ROUND(up_codes, 1u)
#endif
#ifdef HALF
  for (uint i = 0u; i < MATRICES * TOKENS * ROWS; ++i) CURRENT[i] += float(partial[i]);
#endif
}

#ifdef CODES4
vec2 scale_bias(uint word) {
  vec2 pair = unpackHalf2x16(word);
#ifdef ENCODING_INT4
  pair = vec2(16.0 * pair.x, -(16.0 + pair.y) * pair.x);
#endif
  return pair;
}
#endif

// Columns of split `first_split` of `splits`: groups (4-bit) or rounds are dealt out in turn.
void inner_product(uint first_split, uint splits) {
  uint rounds = (columns + 31u) >> 5;
  for (uint i = 0u; i < MATRICES * TOKENS * ROWS; ++i) total[i] = 0.0;
#ifdef CODES4
  for (uint g = first_split; g < groups; g += splits) {
    for (uint t = 0u; t < TOKENS; ++t) group_sum[t] = 0.0;
    for (uint i = 0u; i < MATRICES * TOKENS * ROWS; ++i) group_total[i] = 0.0;
    uint end = min((g + 1u) * group_rounds, rounds);
    for (uint round = g * group_rounds; round < end; ++round) run_round(round);
    for (uint j = 0u; j < ROWS; ++j) {
      vec2 pair = scale_bias(WORD(pairs, pairs_base + row_pairs[j] + g * row_stride[j]));
#ifdef GATED
      vec2 up_pair = scale_bias(WORD(up_pairs, up_pairs_base + row_pairs[j] + g * row_stride[j]));
#endif
      for (uint t = 0u; t < TOKENS; ++t) {
        uint cell = t * ROWS + j;
        total[cell] += pair.x * group_total[cell] + pair.y * group_sum[t];
#ifdef GATED
        cell += TOKENS * ROWS;
        total[cell] += up_pair.x * group_total[cell] + up_pair.y * group_sum[t];
#endif
      }
    }
  }
#else
  for (uint round = first_split; round < rounds; round += splits) run_round(round);
#endif
}

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
