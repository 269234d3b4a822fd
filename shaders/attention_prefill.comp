// Attention of many activation rows: a workgroup owns QUERIES (row, head) pairs that share one K/V
// head, so that a row of the states is read once for all of them. Softmax is streamed over tiles of
// as many positions as lanes; scores never leave shared memory. Row t sees positions up to past + t.
// Bound by arithmetic and by shared memory.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#define REDUCE_TYPE vec4
#include "common/subgroup.glsl"
#include "common/local_size.glsl"
#include "common/step_record.glsl"
#include "common/words.glsl"
#include "common/reduce.glsl"
#include "common/activation.glsl"
#include "common/attention.glsl"

const uint QUADS = QUERIES / 4u;  // QUERIES is a multiple of 4
const uint SUBSETS = LOCAL_SIZE / WORDS;  // the local size is at least WORDS
shared vec4 query[QUERIES * VECTORS];
shared vec4 chance[LOCAL_SIZE * QUADS];
shared vec4 cells[LOCAL_SIZE];
shared vec4 highest[QUADS];  // score so far of each query: registers are short in the loops below
shared uvec4 ends[QUADS];    // positions that each query sees

vec4 dots(vec4 k, uint quad, uint i) {
  uint base = quad * 4u * VECTORS + i;
  return vec4(dot(k, query[base]), dot(k, query[base + VECTORS]), dot(k, query[base + 2u * VECTORS]),
              dot(k, query[base + 3u * VECTORS]));
}

void main() {
  uint lane = gl_LocalInvocationIndex;
  uint kv_head = gl_WorkGroupID.y;
  uint group = push.heads / push.kv_heads;
  uint rows = min(record.tokens, push.rows);
  uint first = gl_WorkGroupID.x * QUERIES;  // query r: row r / group, head r % group of the group
  uint count = rows * group;
  if (first >= count) return;  // uniform
  uint past = record.past;

  for (uint i = lane; i < QUERIES * VECTORS; i += LOCAL_SIZE) {
    uint r = min(first + i / VECTORS, count - 1u);
    uint base = ((r / group) * push.heads + kv_head * group + r % group) * HEAD_DIM;
    query[i] = load_query(base, i % VECTORS);
  }
  if (lane < QUADS) {
    uvec4 r = min(uvec4(first + 4u * lane) + uvec4(0u, 1u, 2u, 3u), uvec4(count - 1u));
    ends[lane] = min(uvec4(past + 1u) + r / group, uvec4(push.context));
    highest[lane] = vec4(kLow);
  }
  barrier();

  vec4 slope[QUADS];
  vec4 sum[QUADS], mix_x[QUADS], mix_y[QUADS];
  for (uint c = 0u; c < QUADS; ++c) {
    if (SLOPED != 0u) {
      uvec4 r = min(uvec4(first + 4u * c) + uvec4(0u, 1u, 2u, 3u), uvec4(count - 1u));
      uvec4 head = uvec4(kv_head * group) + r % group;
      slope[c] = vec4(slopes[head.x], slopes[head.y], slopes[head.z], slopes[head.w]);
    }
    sum[c] = vec4(0.0);
    mix_x[c] = vec4(0.0);
    mix_y[c] = vec4(0.0);
  }
  uint end = min(past + 1u + min(first + QUERIES - 1u, count - 1u) / group, push.context);
  uint subset = lane / WORDS;
  uint word = lane - subset * WORDS;

  uint begin = window_begin(min(past + 1u + first / group, push.context));
  for (uint tile = begin; tile < end; tile += LOCAL_SIZE) {
    uint position = tile + lane;
    uint base = state_row(min(position, end - 1u), kv_head);
    vec4 s[QUADS], next[QUADS];
    for (uint c = 0u; c < QUADS; ++c) s[c] = vec4(0.0);
    if (WIDE != 0u) {
      [[dont_unroll]] for (uint i = 0u; i < VECTORS; i += 2u) {
        uvec4 k = k4[(base >> 3) + (i >> 1)];
        [[dont_unroll]] for (uint part = 0u; part < 2u; ++part) {
          vec4 four = vec4(unpackHalf2x16(part == 0u ? k.x : k.z),
                           unpackHalf2x16(part == 0u ? k.y : k.w));
          for (uint c = 0u; c < QUADS; ++c) s[c] += dots(four, c, i + part);
        }
      }
    } else {
      [[dont_unroll]] for (uint i = 0u; i < VECTORS; ++i) {
        vec4 k = key_vector(base, i);
        for (uint c = 0u; c < QUADS; ++c) s[c] += dots(k, c, i);
      }
    }
    for (uint c = 0u; c < QUADS; ++c) {
      uvec4 past_last = ends[c];
      bvec4 valid = lessThan(uvec4(position), past_last);
      if (WINDOWED != 0u) {
        uvec4 window_first = past_last - min(past_last, uvec4(push.window));
        bvec4 seen = greaterThanEqual(uvec4(position), window_first);
        valid = bvec4(valid.x && seen.x, valid.y && seen.y, valid.z && seen.z, valid.w && seen.w);
      }
      vec4 value = s[c];
      if (CAPPED != 0u) {
        vec4 x = value / push.soft_cap;
        value = push.soft_cap * vec4(safe_tanh(x.x), safe_tanh(x.y), safe_tanh(x.z), safe_tanh(x.w));
      }
      if (SLOPED != 0u) value -= slope[c] * (vec4(past_last) - 1.0 - float(position));
      vec4 masked = mix(vec4(kLow), value, valid);
      next[c] = max(highest[c], workgroup_max(masked));
      vec4 shrink = exp(highest[c] - next[c]);
      vec4 p = mix(vec4(0.0), exp(masked - next[c]), valid);
      sum[c] = sum[c] * shrink + p;
      mix_x[c] *= shrink;
      mix_y[c] *= shrink;
      chance[lane * QUADS + c] = p;
    }
    barrier();
    if (lane == 0u) {
      for (uint c = 0u; c < QUADS; ++c) highest[c] = next[c];
    }
    uint tile_count = min(LOCAL_SIZE, end - tile);
    if (subset < SUBSETS) {
      [[dont_unroll]] for (uint j = subset; j < tile_count; j += SUBSETS) {
        vec2 v = value_pair(state_row(tile + j, kv_head), word);
        for (uint c = 0u; c < QUADS; ++c) {
          vec4 p = chance[j * QUADS + c];
          mix_x[c] += p * v.x;
          mix_y[c] += p * v.y;
        }
      }
    }
    barrier();
  }

#define STORE_QUERY(part, lane_of_quad)                                                        \
  {                                                                                            \
    uint r = first + 4u * c + lane_of_quad;                                                    \
    if (subset == 0u && r < count) {                                                           \
      uint base = ((r / group) * push.heads + kv_head * group + r % group) * HEAD_DIM;         \
      vec2 result = vec2(x.part, y.part) / total.part;                                         \
      STORE2(out_words, OUT_F16, base + 2u * word, result, true)                               \
    }                                                                                          \
  }
  for (uint c = 0u; c < QUADS; ++c) {
    vec4 total = workgroup_sum(sum[c]);
    cells[lane] = mix_x[c];
    barrier();
    vec4 x = mix_x[c];
    [[dont_unroll]] for (uint i = 1u; i < SUBSETS; ++i) x += cells[i * WORDS + word];
    barrier();
    cells[lane] = mix_y[c];
    barrier();
    vec4 y = mix_y[c];
    [[dont_unroll]] for (uint i = 1u; i < SUBSETS; ++i) y += cells[i * WORDS + word];
    barrier();
    STORE_QUERY(x, 0u)
    STORE_QUERY(y, 1u)
    STORE_QUERY(z, 2u)
    STORE_QUERY(w, 3u)
  }
}
