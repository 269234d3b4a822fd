// Attention of one activation row: a workgroup owns QUERIES heads that share a K/V head, so that a
// row of the states is read once for all of them, and one part of the context. Positions are split
// over the lanes, a tile of as many as lanes at a time (streamed softmax); then lanes own units of
// the output and subsets of the tile, which meet in a second reduction. Bound by the bandwidth of
// the states, linear in the context or in the window.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common/subgroup.glsl"
#include "common/local_size.glsl"
#include "common/step_record.glsl"
#include "common/words.glsl"
#include "common/activation.glsl"
#include "common/attention.glsl"
#include "common/parts.glsl"

const uint PAIRS = WIDE != 0u ? 4u : 1u;  // element pairs of a unit, which one load brings
const uint UNITS = WORDS / PAIRS;
const uint SUBSETS = LOCAL_SIZE / UNITS;  // the local size is at least UNITS
const uint CELLS = QUERIES > 1u ? QUERIES : 2u;
shared vec4 query[QUERIES * VECTORS];
shared float chance[QUERIES * LOCAL_SIZE];
shared float cells[CELLS * LOCAL_SIZE];

// Reduces each of QUERIES values over the workgroup; every invocation gets the results.
#ifdef SUBGROUP
#define REDUCE(name, combine, subgroup_combine)                                           \
  void name(inout float values[QUERIES]) {                                                \
    for (uint q = 0u; q < QUERIES; ++q) {                                                 \
      float part = subgroup_combine(values[q]);                                           \
      if (subgroupElect()) cells[q * LOCAL_SIZE + gl_SubgroupID] = part;                  \
    }                                                                                     \
    barrier();                                                                            \
    for (uint q = 0u; q < QUERIES; ++q) {                                                 \
      float all = cells[q * LOCAL_SIZE];                                                  \
      for (uint i = 1u; i < gl_NumSubgroups; ++i) all = combine(all, cells[q * LOCAL_SIZE + i]); \
      values[q] = all;                                                                    \
    }                                                                                     \
    barrier();                                                                            \
  }
#else
#define REDUCE(name, combine, subgroup_combine)                                           \
  void name(inout float values[QUERIES]) {                                                \
    uint lane = gl_LocalInvocationIndex;                                                  \
    for (uint q = 0u; q < QUERIES; ++q) cells[q * LOCAL_SIZE + lane] = values[q];         \
    barrier();                                                                            \
    for (uint stride = LOCAL_SIZE >> 1; stride > 0u; stride >>= 1) {                      \
      if (lane < stride) {                                                                \
        for (uint q = 0u; q < QUERIES; ++q) {                                             \
          uint i = q * LOCAL_SIZE + lane;                                                 \
          cells[i] = combine(cells[i], cells[i + stride]);                                \
        }                                                                                 \
      }                                                                                   \
      barrier();                                                                          \
    }                                                                                     \
    for (uint q = 0u; q < QUERIES; ++q) values[q] = cells[q * LOCAL_SIZE];                \
    barrier();                                                                            \
  }
#endif
float plus(float a, float b) { return a + b; }
REDUCE(workgroup_sums, plus, subgroupAdd)
REDUCE(workgroup_maxima, max, subgroupMax)

void add_scores(uint base, inout float s[QUERIES]) {
  if (WIDE != 0u) {
    [[dont_unroll]] for (uint i = 0u; i < VECTORS; i += 2u) {
      uvec4 k = k4[(base >> 3) + (i >> 1)];
      vec4 low = vec4(unpackHalf2x16(k.x), unpackHalf2x16(k.y));
      vec4 high = vec4(unpackHalf2x16(k.z), unpackHalf2x16(k.w));
      for (uint q = 0u; q < QUERIES; ++q) {
        s[q] += dot(low, query[q * VECTORS + i]) + dot(high, query[q * VECTORS + i + 1u]);
      }
    }
  } else {
    [[dont_unroll]] for (uint i = 0u; i < VECTORS; ++i) {
      vec4 k = key_vector(base, i);
      for (uint q = 0u; q < QUERIES; ++q) s[q] += dot(k, query[q * VECTORS + i]);
    }
  }
}

void main() {
  if (record.tokens == 0u) return;  // uniform
  uint lane = gl_LocalInvocationIndex;
  uint group = push.heads / push.kv_heads;
  uint tiles = (group + QUERIES - 1u) / QUERIES;
  uint kv_head = gl_WorkGroupID.x / tiles;
  uint first = (gl_WorkGroupID.x - kv_head * tiles) * QUERIES;
  uint count = min(QUERIES, group - first);
  first += kv_head * group;
  uint last = min(record.past + 1u, push.context);
  uint begin = window_begin(last), end = last;
  if (PARTS > 1u) {
    uint span = part_span(last - begin);
    begin += gl_WorkGroupID.y * span;
    end = min(begin + span, last);
    if (begin >= last) return;  // uniform: the context does not reach this part
  }
  for (uint i = lane; i < QUERIES * VECTORS; i += LOCAL_SIZE) {
    uint head = first + min(i / VECTORS, count - 1u);
    query[i] = load_query(head * HEAD_DIM, i % VECTORS);
  }
  barrier();

  uint subset = lane / UNITS;
  uint unit = lane - subset * UNITS;
  float highest[QUERIES], sum[QUERIES], slope[QUERIES];
  vec2 mixed[QUERIES][PAIRS];
  for (uint q = 0u; q < QUERIES; ++q) {
    highest[q] = kLow;
    sum[q] = 0.0;  // of this lane's positions
    slope[q] = SLOPED != 0u ? slopes[first + min(q, count - 1u)] : 0.0;
    for (uint i = 0u; i < PAIRS; ++i) mixed[q][i] = vec2(0.0);
  }
  for (uint tile = begin; tile < end; tile += LOCAL_SIZE) {
    uint position = tile + lane;
    bool valid = position < end;
    position = min(position, end - 1u);
    float s[QUERIES], next[QUERIES];
    for (uint q = 0u; q < QUERIES; ++q) s[q] = 0.0;
    add_scores(state_row(position, kv_head), s);
    for (uint q = 0u; q < QUERIES; ++q) {
      s[q] = valid ? biased(s[q], slope[q], float(last - 1u - position)) : kLow;
      next[q] = s[q];
    }
    workgroup_maxima(next);
    for (uint q = 0u; q < QUERIES; ++q) {
      next[q] = max(next[q], highest[q]);
      float shrink = exp(highest[q] - next[q]);
      highest[q] = next[q];
      float p = valid ? exp(s[q] - next[q]) : 0.0;
      sum[q] = sum[q] * shrink + p;
      chance[q * LOCAL_SIZE + lane] = p;
      for (uint i = 0u; i < PAIRS; ++i) mixed[q][i] *= shrink;
    }
    barrier();
    uint tile_count = min(LOCAL_SIZE, end - tile);
    if (subset < SUBSETS) {
      [[dont_unroll]] for (uint j = subset; j < tile_count; j += SUBSETS) {
        uint base = state_row(tile + j, kv_head);
        if (WIDE != 0u) {
          uvec4 v = v4[(base >> 3) + unit];
          for (uint q = 0u; q < QUERIES; ++q) {
            float p = chance[q * LOCAL_SIZE + j];
            mixed[q][0] += p * unpackHalf2x16(v.x);
            mixed[q][PAIRS > 1u ? 1 : 0] += p * unpackHalf2x16(v.y);
            mixed[q][PAIRS > 2u ? 2 : 0] += p * unpackHalf2x16(v.z);
            mixed[q][PAIRS > 3u ? 3 : 0] += p * unpackHalf2x16(v.w);
          }
        } else {
          vec2 v = value_pair(base, unit);
          for (uint q = 0u; q < QUERIES; ++q) mixed[q][0] += chance[q * LOCAL_SIZE + j] * v;
        }
      }
    }
    barrier();
  }

  workgroup_sums(sum);
  for (uint q = 0u; q < QUERIES; ++q) {
    uint head = first + q;
    uint base = PARTS > 1u ? part_base(gl_WorkGroupID.y, push.heads, head, HEAD_DIM)
                           : head * HEAD_DIM;
    for (uint i = 0u; i < PAIRS; ++i) {
      cells[lane] = mixed[q][i].x;
      cells[LOCAL_SIZE + lane] = mixed[q][i].y;
      barrier();
      if (subset == 0u && q < count) {
        vec2 result = vec2(0.0);
        [[dont_unroll]] for (uint j = 0u; j < SUBSETS; ++j) {
          result += vec2(cells[j * UNITS + unit], cells[LOCAL_SIZE + j * UNITS + unit]);
        }
        uint at = base + 2u * (unit * PAIRS + i);
        if (PARTS > 1u) {
          STORE2(out_words, 0u, at, result, true)
        } else {
          result /= sum[q];
          STORE2(out_words, OUT_F16, at, result, true)
        }
      }
      barrier();
    }
    if (PARTS > 1u && lane == 0u && q < count) {
      out_words[base + HEAD_DIM] = floatBitsToUint(highest[q]);
      out_words[base + HEAD_DIM + 1u] = floatBitsToUint(sum[q]);
    }
  }
}
