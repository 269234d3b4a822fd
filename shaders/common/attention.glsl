// What the attention kernels share: how rows of the states are read, in place.
layout(constant_id = 1) const uint HEAD_DIM = 64u;  // even
layout(constant_id = 2) const uint Q_F16 = 0u;
layout(constant_id = 3) const uint OUT_F16 = 0u;
layout(constant_id = 4) const uint STATE_F16 = 1u;
layout(constant_id = 5) const uint WIDE = 0u;       // f16 states, HEAD_DIM divides by 8

// Queries of a workgroup, which share a K/V head: decode heads, prefill (row, head) pairs.
layout(constant_id = 6) const uint QUERIES = 4u;
// What a model does without costs nothing.
layout(constant_id = 7) const uint WINDOWED = 0u;   // a row sees the last push.window positions
layout(constant_id = 8) const uint CAPPED = 0u;     // soft cap of the scores
layout(constant_id = 9) const uint SLOPED = 0u;     // ALiBi

layout(std430, binding = 1) readonly buffer Q { uint q_words[]; };
#ifdef TEXELS  // the states are read in units of 8 elements only
layout(binding = 2, rgba32ui) readonly uniform uimageBuffer k_texels;
layout(binding = 3, rgba32ui) readonly uniform uimageBuffer v_texels;
#define K_UNIT(i) imageLoad(k_texels, int(i))
#define V_UNIT(i) imageLoad(v_texels, int(i))
#else
layout(std430, binding = 2) readonly buffer K1 { uint k1[]; };
layout(std430, binding = 2) readonly buffer K4 { uvec4 k4[]; };
layout(std430, binding = 3) readonly buffer V { uint v_words[]; };
layout(std430, binding = 3) readonly buffer V4 { uvec4 v4[]; };
#define K_UNIT(i) k4[i]
#define V_UNIT(i) v4[i]
#endif
layout(std430, binding = 4) writeonly buffer Out { uint out_words[]; };  // or partial results
layout(std430, binding = 5) readonly buffer Slopes { float slopes[]; };  // by head

layout(push_constant) uniform Push {
  uint heads;
  uint kv_heads;
  uint rows;     // activation rows, padding included
  uint context;  // rows of the states
  float scale;
  uint window;
  float soft_cap;
} push;

const uint VECTORS = (HEAD_DIM + 3u) / 4u;  // of a query, in shared memory, the last one padded
const uint WORDS = HEAD_DIM / 2u;           // element pairs of a head
const float kLow = -1e30;                   // below every score, and exp(kLow - kLow) is 1

// First position that a row sees whose last one is end - 1.
uint window_begin(uint end) {
  return WINDOWED != 0u && end > push.window ? end - push.window : 0u;
}

float load_q(uint i) { return LOAD(q_words, Q_F16, i); }

// Query elements 4 * i .. 4 * i + 3 of the head that starts at element `base`, scaled.
vec4 load_query(uint base, uint i) {
  bool full = 4u * i + 2u < HEAD_DIM;
  uint upper = full ? 2u : 0u;
  vec4 q = vec4(load_q(base + 4u * i), load_q(base + 4u * i + 1u), load_q(base + 4u * i + upper),
                load_q(base + 4u * i + upper + 1u));
  return (full ? q : vec4(q.xy, 0.0, 0.0)) * push.scale;
}

// Constants that loops use, read once: a software device fetches a push constant lane by lane.
uint state_width = push.kv_heads * HEAD_DIM;  // elements of a row of the states
float soft_cap = push.soft_cap;

// Element of the states where the head's row at `position` starts.
uint state_row(uint position, uint kv_head) { return position * state_width + kv_head * HEAD_DIM; }

#ifndef TEXELS
vec2 key_pair(uint base, uint word) {
  uint i = base + 2u * word;
  if (STATE_F16 != 0u) return unpackHalf2x16(k1[i >> 1]);
  return vec2(uintBitsToFloat(k1[i]), uintBitsToFloat(k1[i + 1u]));
}

// Key elements 4 * i .. 4 * i + 3, where WIDE is 0.
vec4 key_vector(uint base, uint i) {
  bool full = 4u * i + 2u < HEAD_DIM;
  vec2 upper = key_pair(base, full ? 2u * i + 1u : 2u * i);
  return vec4(key_pair(base, 2u * i), full ? upper : vec2(0.0));
}

vec2 value_pair(uint base, uint word) {
  uint i = base + 2u * word;
  if (STATE_F16 != 0u) return unpackHalf2x16(v_words[i >> 1]);
  return vec2(uintBitsToFloat(v_words[i]), uintBitsToFloat(v_words[i + 1u]));
}
#endif

// Scores as the softmax sees them; `distance` is how far the position lies behind the row's last.
float biased(float score, float slope, float distance) {
  if (CAPPED != 0u) score = soft_cap * safe_tanh(score / soft_cap);
  if (SLOPED != 0u) score -= slope * distance;
  return score;
}
