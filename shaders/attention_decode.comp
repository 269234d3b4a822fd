// Attention of one activation row: a workgroup a head. The positions are split over the lanes, a
// tile of as many positions as lanes at a time (streamed softmax); then lanes own element pairs of
// the output and subsets of the tile, which meet in a second reduction. Reads the states in place;
// bound by their bandwidth, linear in the context or in the window.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/subgroup.glsl"
#include "common/local_size.glsl"
#include "common/step_record.glsl"
#include "common/words.glsl"
#include "common/reduce.glsl"
#include "common/activation.glsl"
#include "common/attention.glsl"

const uint SUBSETS = LOCAL_SIZE / WORDS;  // the local size is at least WORDS
shared vec4 query[VECTORS];
shared float chance[LOCAL_SIZE];
shared vec2 cells[LOCAL_SIZE];

float score(uint position, uint kv_head) {
  uint base = state_row(position, kv_head);
  float sum = 0.0;
  if (WIDE != 0u) {
    for (uint i = 0u; i < VECTORS; i += 2u) {
      uvec4 k = k4[(base >> 3) + (i >> 1)];
      sum += dot(vec4(unpackHalf2x16(k.x), unpackHalf2x16(k.y)), query[i]);
      sum += dot(vec4(unpackHalf2x16(k.z), unpackHalf2x16(k.w)), query[i + 1u]);
    }
  } else {
    for (uint i = 0u; i < VECTORS; ++i) sum += dot(key_vector(base, i), query[i]);
  }
  return sum;
}

void main() {
  uint lane = gl_LocalInvocationIndex;
  uint head = gl_WorkGroupID.x;
  uint t = gl_WorkGroupID.y;
  if (t >= record.tokens) return;  // uniform
  uint kv_head = head / (push.heads / push.kv_heads);
  uint end = min(record.past + t + 1u, push.context);
  uint q_base = (t * push.heads + head) * HEAD_DIM;
  for (uint i = lane; i < VECTORS; i += LOCAL_SIZE) query[i] = load_query(q_base, i);
  barrier();

  uint subset = lane / WORDS;
  uint word = lane - subset * WORDS;
  float highest = kLow;
  float sum = 0.0;  // of this lane's positions
  vec2 mix_sum = vec2(0.0);
  float slope = SLOPED != 0u ? slopes[head] : 0.0;
  for (uint tile = window_begin(end); tile < end; tile += LOCAL_SIZE) {
    uint position = tile + lane;
    bool valid = position < end;
    float s = score(min(position, end - 1u), kv_head);
    if (CAPPED != 0u) s = push.soft_cap * safe_tanh(s / push.soft_cap);
    if (SLOPED != 0u) s -= slope * float(end - 1u - min(position, end - 1u));
    float tile_highest = max(highest, workgroup_max(valid ? s : kLow));
    float shrink = exp(highest - tile_highest);
    highest = tile_highest;
    float p = valid ? exp(s - highest) : 0.0;
    sum = sum * shrink + p;
    chance[lane] = p;
    barrier();
    mix_sum *= shrink;
    uint count = min(LOCAL_SIZE, end - tile);
    if (subset < SUBSETS) {
      for (uint j = subset; j < count; j += SUBSETS) {
        mix_sum += chance[j] * value_pair(state_row(tile + j, kv_head), word);
      }
    }
    barrier();
  }
  float total = workgroup_sum(sum);
  cells[lane] = mix_sum;
  barrier();
  if (subset != 0u) return;  // no barrier follows
  for (uint i = 1u; i < SUBSETS; ++i) mix_sum += cells[i * WORDS + word];
  mix_sum /= total;
  STORE2(out_words, OUT_F16, q_base + 2u * word, mix_sum, true)
}
