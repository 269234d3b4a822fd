// attention_decode for small subgroups: the workgroup is one subgroup of 8 or 16 lanes, whose
// registers hold distinct elements that shuffles hand round; no shared memory and no barrier
// inside of the loop. A lane owns a position of the tile for the scores and 8 elements of the
// output for the values. Only f16 states whose heads divide by 8. Bound by the states' loads.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/subgroup.glsl"
#include "common/local_size.glsl"
#include "common/step_record.glsl"
#include "common/words.glsl"
#include "common/activation.glsl"
#include "common/attention.glsl"
#include "common/parts.glsl"

const uint UNITS = HEAD_DIM / 8u;  // of 8 elements, one load each
// Groups of lanes that read different positions where a head is narrower than the subgroup.
const uint GROUPS = UNITS * 16u <= LOCAL_SIZE  ? 16u
                    : UNITS * 8u <= LOCAL_SIZE ? 8u
                    : UNITS * 4u <= LOCAL_SIZE ? 4u
                    : UNITS * 2u <= LOCAL_SIZE ? 2u
                                               : 1u;
const uint OWNERS = LOCAL_SIZE / GROUPS;  // lanes of a group
const uint ROUNDS = (UNITS + OWNERS - 1u) / OWNERS;
shared vec4 cells[2u * LOCAL_SIZE];

vec4 low_half(uvec4 v) { return vec4(unpackHalf2x16(v.x), unpackHalf2x16(v.y)); }
vec4 high_half(uvec4 v) { return vec4(unpackHalf2x16(v.z), unpackHalf2x16(v.w)); }

void main() {
  if (record.tokens == 0u) return;  // uniform
  uint lane = gl_SubgroupInvocationID;
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
  float own[QUERIES][UNITS];  // element 8 * unit + lane of the query
  float highest[QUERIES], sum[QUERIES], slope[QUERIES];
  vec4 mixed[QUERIES][2u * ROUNDS];
  for (uint q = 0u; q < QUERIES; ++q) {
    uint head = first + min(q, count - 1u);
    for (uint u = 0u; u < UNITS; ++u) {
      own[q][u] = load_q(head * HEAD_DIM + 8u * u + (lane & 7u)) * push.scale;
    }
    highest[q] = kLow;
    sum[q] = 0.0;  // of this lane's positions
    slope[q] = SLOPED != 0u ? slopes[head] : 0.0;
    for (uint i = 0u; i < 2u * ROUNDS; ++i) mixed[q][i] = vec4(0.0);
  }
  uint subset = lane / OWNERS;
  uint owner = lane - subset * OWNERS;

  for (uint tile = begin; tile < end; tile += LOCAL_SIZE) {
    uint position = tile + lane;
    bool valid = position < end;
    position = min(position, end - 1u);
    uint row = state_row(position, kv_head) >> 3;
    float p[QUERIES], pick[QUERIES];
    for (uint q = 0u; q < QUERIES; ++q) p[q] = 0.0;
    for (uint u = 0u; u < UNITS; ++u) {
      uvec4 k = K_UNIT(row + u);
      vec4 low = low_half(k), high = high_half(k);
      for (uint q = 0u; q < QUERIES; ++q) {
        float x = own[q][u];
        p[q] += low.x * subgroupShuffle(x, 0u) + low.y * subgroupShuffle(x, 1u) +
                low.z * subgroupShuffle(x, 2u) + low.w * subgroupShuffle(x, 3u) +
                high.x * subgroupShuffle(x, 4u) + high.y * subgroupShuffle(x, 5u) +
                high.z * subgroupShuffle(x, 6u) + high.w * subgroupShuffle(x, 7u);
      }
    }
    for (uint q = 0u; q < QUERIES; ++q) {
      float s = valid ? biased(p[q], slope[q], float(last - 1u - position)) : kLow;
      float next = max(highest[q], subgroupMax(s));
      float shrink = exp(highest[q] - next);
      highest[q] = next;
      p[q] = valid ? exp(s - next) : 0.0;
      sum[q] = sum[q] * shrink + p[q];
      for (uint i = 0u; i < 2u * ROUNDS; ++i) mixed[q][i] *= shrink;
      pick[q] = 0.0;
    }
// Value row tile + j: its weight goes to the group that reads it; once every group has one, they
// load. Rows behind the end are read as the last one, with weight 0.
#define VALUE(j)                                                                          \
  if (j < LOCAL_SIZE) {                                                                   \
    for (uint q = 0u; q < QUERIES; ++q) {                                                 \
      float weight = subgroupShuffle(p[q], j);                                          \
      pick[q] = GROUPS == 1u || subset == j % GROUPS ? weight : pick[q];                  \
    }                                                                                     \
    if (j % GROUPS == GROUPS - 1u) {                                                      \
      uint from = min(tile + j - (GROUPS - 1u) + subset, end - 1u);                       \
      uint base = state_row(from, kv_head) >> 3;                                          \
      for (uint r = 0u; r < ROUNDS; ++r) {                                                \
        uvec4 v = V_UNIT(base + min(r * OWNERS + owner, UNITS - 1u));                         \
        vec4 low = low_half(v), high = high_half(v);                                      \
        for (uint q = 0u; q < QUERIES; ++q) {                                             \
          mixed[q][2u * r] += pick[q] * low;                                              \
          mixed[q][2u * r + 1u] += pick[q] * high;                                        \
        }                                                                                 \
      }                                                                                   \
    }                                                                                     \
  }
    VALUE(0u) VALUE(1u) VALUE(2u) VALUE(3u) VALUE(4u) VALUE(5u) VALUE(6u) VALUE(7u)
    VALUE(8u) VALUE(9u) VALUE(10u) VALUE(11u) VALUE(12u) VALUE(13u) VALUE(14u) VALUE(15u)
  }

  for (uint q = 0u; q < QUERIES; ++q) {
    uint head = first + q;
    uint base = PARTS > 1u ? part_base(gl_WorkGroupID.y, push.heads, head, HEAD_DIM)
                           : head * HEAD_DIM;
    float total = subgroupAdd(sum[q]);
    for (uint r = 0u; r < ROUNDS; ++r) {
      vec4 low = mixed[q][2u * r], high = mixed[q][2u * r + 1u];
      if (GROUPS > 1u) {
        cells[lane] = low;
        cells[LOCAL_SIZE + lane] = high;
        barrier();
        for (uint j = 1u; j < GROUPS; ++j) {
          low += cells[j * OWNERS + owner];
          high += cells[LOCAL_SIZE + j * OWNERS + owner];
        }
        barrier();
      }
      uint unit = r * OWNERS + owner;
      if (subset == 0u && q < count && unit < UNITS) {
        uint at = base + 8u * unit;
        if (PARTS > 1u) {
          STORE2(out_words, 0u, at, low.xy, true)
          STORE2(out_words, 0u, at + 2u, low.zw, true)
          STORE2(out_words, 0u, at + 4u, high.xy, true)
          STORE2(out_words, 0u, at + 6u, high.zw, true)
        } else {
          low /= total;
          high /= total;
          STORE2(out_words, OUT_F16, at, low.xy, true)
          STORE2(out_words, OUT_F16, at + 2u, low.zw, true)
          STORE2(out_words, OUT_F16, at + 4u, high.xy, true)
          STORE2(out_words, OUT_F16, at + 6u, high.zw, true)
        }
      }
    }
    if (PARTS > 1u && lane == 0u && q < count) {
      out_words[base + HEAD_DIM] = floatBitsToUint(highest[q]);
      out_words[base + HEAD_DIM + 1u] = floatBitsToUint(total);
    }
  }
}
