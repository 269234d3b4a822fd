// attention_prefill for small subgroups: the workgroup is one subgroup of 8 or 16 lanes. A lane
// owns QUERIES / LOCAL_SIZE (row, head) pairs, whose softmax never leaves it; the lanes load
// distinct units of a K or V row and hand them round by shuffles. No barrier, and shared memory
// only for a lane's own scores. Only f16 states whose heads divide by 8. Bound by arithmetic.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/subgroup.glsl"
#include "common/local_size.glsl"
#include "common/step_record.glsl"
#include "common/words.glsl"
#include "common/activation.glsl"
#include "common/attention.glsl"

const uint PAIRS = QUERIES / LOCAL_SIZE;  // of a lane
const uint UNITS = HEAD_DIM / 8u;         // of 8 elements, one load each
const uint SLOTS = (UNITS + 7u) / 8u;     // units of a lane; lanes above 8 load what others load
const uint TILE = 8u;                     // positions that share one rescaling
shared float scores[TILE * QUERIES];

vec4 low_half(uvec4 v) { return vec4(unpackHalf2x16(v.x), unpackHalf2x16(v.y)); }
vec4 high_half(uvec4 v) { return vec4(unpackHalf2x16(v.z), unpackHalf2x16(v.w)); }

#define FOR_EACH_LANE(step) step(0u) step(1u) step(2u) step(3u) step(4u) step(5u) step(6u) step(7u)

void main() {
  uint lane = gl_SubgroupInvocationID;
  uint kv_head = gl_WorkGroupID.y;
  uint group = push.heads / push.kv_heads;
  uint rows = min(record.tokens, push.rows);
  uint first = gl_WorkGroupID.x * QUERIES;  // pair r: row r / group, head r % group of the group
  uint count = rows * group;
  if (first >= count) return;  // uniform
  uint past = record.past;

  vec4 query[PAIRS][SLOTS][16], mixed[PAIRS][SLOTS][16];  // [..][unit of the slot, two vectors each]
  uint ends[PAIRS], begins[PAIRS];
  float slope[PAIRS], highest[PAIRS], sum[PAIRS];
  for (uint t = 0u; t < PAIRS; ++t) {
    uint r = min(first + t * LOCAL_SIZE + lane, count - 1u);
    uint head = kv_head * group + r % group;
    uint base = ((r / group) * push.heads + head) * HEAD_DIM;
    for (uint s = 0u; s < SLOTS; ++s) {
      for (uint i = 0u; i < 16u; ++i) {
        mixed[t][s][i] = vec4(0.0);
        query[t][s][i] = 16u * s + i < VECTORS ? load_query(base, 16u * s + i) : vec4(0.0);
      }
    }
    ends[t] = min(past + 1u + r / group, push.context);
    begins[t] = window_begin(ends[t]);
    slope[t] = SLOPED != 0u ? slopes[head] : 0.0;
    highest[t] = kLow;
    sum[t] = 0.0;
  }
  uint end = min(past + 1u + min(first + QUERIES - 1u, count - 1u) / group, push.context);
  uint begin = window_begin(min(past + 1u + first / group, push.context));

  for (uint tile = begin; tile < end; tile += TILE) {
    float next[PAIRS];
    for (uint t = 0u; t < PAIRS; ++t) next[t] = highest[t];
    for (uint j = 0u; j < TILE; ++j) {
      uint position = tile + j;
      uint row = state_row(min(position, end - 1u), kv_head) >> 3;
      float score[PAIRS];
      for (uint t = 0u; t < PAIRS; ++t) score[t] = 0.0;
      for (uint s = 0u; s < SLOTS; ++s) {
        uvec4 k = K_UNIT(row + min(8u * s + (lane & 7u), UNITS - 1u));
        vec4 low = low_half(k), high = high_half(k);
#define SCORE(from)                                                                      \
  if (8u * s + from < UNITS) {                                                           \
    vec4 a = subgroupShuffle(low, from), b = subgroupShuffle(high, from);            \
    for (uint t = 0u; t < PAIRS; ++t) {                                                  \
      score[t] += dot(a, query[t][s][2u * from]) + dot(b, query[t][s][2u * from + 1u]);  \
    }                                                                                    \
  }
        FOR_EACH_LANE(SCORE)
      }
      for (uint t = 0u; t < PAIRS; ++t) {
        bool valid = position < ends[t] && position >= begins[t];
        float x = biased(score[t], slope[t], float(ends[t]) - 1.0 - float(position));
        x = valid ? x : kLow;
        next[t] = max(next[t], x);
        scores[j * QUERIES + t * LOCAL_SIZE + lane] = x;
      }
    }
    for (uint t = 0u; t < PAIRS; ++t) {
      float shrink = exp(highest[t] - next[t]);
      highest[t] = next[t];
      sum[t] *= shrink;
      for (uint s = 0u; s < SLOTS; ++s) {
        for (uint i = 0u; i < 16u; ++i) mixed[t][s][i] *= shrink;
      }
    }
    for (uint j = 0u; j < TILE; ++j) {
      uint row = state_row(min(tile + j, end - 1u), kv_head) >> 3;
      float p[PAIRS];
      for (uint t = 0u; t < PAIRS; ++t) {
        float x = scores[j * QUERIES + t * LOCAL_SIZE + lane];
        p[t] = x > kLow ? exp(x - highest[t]) : 0.0;
        sum[t] += p[t];
      }
      for (uint s = 0u; s < SLOTS; ++s) {
        uvec4 v = V_UNIT(row + min(8u * s + (lane & 7u), UNITS - 1u));
        vec4 low = low_half(v), high = high_half(v);
#define MIX(from)                                                                        \
  if (8u * s + from < UNITS) {                                                           \
    vec4 a = subgroupShuffle(low, from), b = subgroupShuffle(high, from);            \
    for (uint t = 0u; t < PAIRS; ++t) {                                                  \
      mixed[t][s][2u * from] += p[t] * a;                                                \
      mixed[t][s][2u * from + 1u] += p[t] * b;                                           \
    }                                                                                    \
  }
        FOR_EACH_LANE(MIX)
      }
    }
  }

  for (uint t = 0u; t < PAIRS; ++t) {
    uint r = first + t * LOCAL_SIZE + lane;
    if (r < count) {
      uint base = ((r / group) * push.heads + kv_head * group + r % group) * HEAD_DIM;
      for (uint s = 0u; s < SLOTS; ++s) {
        for (uint i = 0u; i < 16u; ++i) {
          if (16u * s + i < VECTORS) {
            vec4 result = mixed[t][s][i] / sum[t];
            uint at = base + 4u * (16u * s + i);
            STORE2(out_words, OUT_F16, at, result.xy, true)
            STORE2(out_words, OUT_F16, at + 2u, result.zw, true)
          }
        }
      }
    }
  }
}
