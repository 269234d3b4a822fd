// Rotates q and k by position, writes q [tokens, heads * head_dim], and k and v as rows
// [past, past + tokens) of the states, in place (Transformer-Lite, sub-tensor KV cache). A lane
// owns two neighbouring elements of one head. With HEAD_NORM a workgroup owns a head, which it
// normalises first. Bound by memory.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/local_size.glsl"
#include "common/step_record.glsl"
#include "common/words.glsl"
#ifdef HEAD_NORM
#include "common/reduce.glsl"
#endif

layout(constant_id = 1) const uint Q_F16 = 0u;
layout(constant_id = 2) const uint K_F16 = 0u;
layout(constant_id = 3) const uint V_F16 = 0u;
layout(constant_id = 4) const uint STATE_F16 = 1u;
layout(constant_id = 5) const uint OUT_F16 = 0u;
layout(constant_id = 6) const uint INTERLEAVED = 0u;
layout(constant_id = 7) const uint LONG = 0u;    // a second table behind the first, for long sequences
#ifdef HEAD_NORM
layout(constant_id = 8) const uint LAYER = 0u;   // 0 rms, 1 layer
layout(constant_id = 9) const uint Q_NORM = 0u;  // 0 none, 1 one weight for all heads, 2 one for each
layout(constant_id = 10) const uint K_NORM = 0u;
#endif

layout(std430, binding = 1) readonly buffer Q { uint q_words[]; };
layout(std430, binding = 2) readonly buffer K { uint k_words[]; };
layout(std430, binding = 3) readonly buffer V { uint v_words[]; };
layout(std430, binding = 4) readonly buffer Table { float rope[]; };  // [context, 2 * half]
layout(std430, binding = 5) writeonly buffer Out { uint out_words[]; };
layout(std430, binding = 6) writeonly buffer KState { uint k_state[]; };
layout(std430, binding = 7) writeonly buffer VState { uint v_state[]; };

layout(push_constant) uniform Push {
  uint heads;
  uint kv_heads;
  uint head_dim;
  uint half_dim;  // rotated pairs of a head, 0: none
  uint q_column, k_column, v_column;
  uint q_width, k_width, v_width;
  uint context;
  uint long_from;  // rows of a sequence from which the second table holds
  float epsilon;
} push;

float load_q(uint i) { return LOAD(q_words, Q_F16, i); }
float load_k(uint i) { return LOAD(k_words, K_F16, i); }
float load_v(uint i) { return LOAD(v_words, V_F16, i); }

#ifdef HEAD_NORM
layout(std430, binding = 8) readonly buffer QNorm { float q_norm[]; };
layout(std430, binding = 9) readonly buffer KNorm { float k_norm[]; };
float head_mean = 0.0, head_factor = 1.0;  // of the workgroup's head
uint weight_base = 0u;

// Moments of the head that starts at `base`; every lane of the workgroup calls it.
void measure(bool is_q, uint base) {
  float n = float(push.head_dim);
  if (LAYER != 0u) {
    float total = 0.0;
    for (uint i = gl_LocalInvocationIndex; i < push.head_dim; i += LOCAL_SIZE) {
      total += is_q ? load_q(base + i) : load_k(base + i);
    }
    head_mean = workgroup_sum(total) / n;
  }
  float squares = 0.0;
  for (uint i = gl_LocalInvocationIndex; i < push.head_dim; i += LOCAL_SIZE) {
    float d = (is_q ? load_q(base + i) : load_k(base + i)) - head_mean;
    squares += d * d;
  }
  head_factor = inversesqrt(workgroup_sum(squares) / n + push.epsilon);
}

float element(bool is_q, uint base, uint e) {
  float x = is_q ? load_q(base + e) : load_k(base + e);
  if (is_q ? Q_NORM == 0u : K_NORM == 0u) return x;
  float weight = is_q ? q_norm[weight_base + e] : k_norm[weight_base + e];
  return (x - head_mean) * head_factor * weight;
}
#else
float element(bool is_q, uint base, uint e) { return is_q ? load_q(base + e) : load_k(base + e); }
#endif

// Element e of a head that starts at `base`, rotated.
float rotated(bool is_q, uint base, uint e, uint position) {
  float x = element(is_q, base, e);
  if (e >= 2u * push.half_dim) return x;
  uint angle = INTERLEAVED != 0u ? e >> 1 : (e < push.half_dim ? e : e - push.half_dim);
  bool first = INTERLEAVED != 0u ? (e & 1u) == 0u : e < push.half_dim;
  uint distance = INTERLEAVED != 0u ? 1u : push.half_dim;
  uint other = first ? e + distance : e - distance;
  float y = element(is_q, base, other);
  uint row = position * 2u * push.half_dim;
  if (LONG != 0u && max(record.target, record.past + record.tokens) >= push.long_from) {
    row += push.context * 2u * push.half_dim;
  }
  float c = rope[row + angle];
  float s = rope[row + push.half_dim + angle];
  return first ? x * c - y * s : x * c + y * s;
}

// Elements e and e + 1 of head `head` of row t; q, k and v heads are numbered one after another.
void move_pair(uint t, uint head, uint e, uint position) {
  if (head < push.heads) {
    uint base = t * push.q_width + push.q_column + head * push.head_dim;
    vec2 value = vec2(rotated(true, base, e, position), rotated(true, base, e + 1u, position));
    STORE2(out_words, OUT_F16, (t * push.heads + head) * push.head_dim + e, value, true)
  } else if (head < push.heads + push.kv_heads) {
    uint kv = head - push.heads;
    uint base = t * push.k_width + push.k_column + kv * push.head_dim;
    vec2 value = vec2(rotated(false, base, e, position), rotated(false, base, e + 1u, position));
    STORE2(k_state, STATE_F16, (position * push.kv_heads + kv) * push.head_dim + e, value, true)
  } else if (head < push.heads + 2u * push.kv_heads) {
    uint kv = head - push.heads - push.kv_heads;
    uint base = t * push.v_width + push.v_column + kv * push.head_dim + e;
    vec2 value = vec2(load_v(base), load_v(base + 1u));
    STORE2(v_state, STATE_F16, (position * push.kv_heads + kv) * push.head_dim + e, value, true)
  }
}

void main() {
  uint t = gl_WorkGroupID.y;
  uint position = record.past + t;
  if (t >= record.tokens || position >= push.context) return;  // uniform over the workgroup
#ifdef HEAD_NORM
  uint head = gl_WorkGroupID.x;
  if (head < push.heads) {
    if (Q_NORM != 0u) measure(true, t * push.q_width + push.q_column + head * push.head_dim);
    if (Q_NORM == 2u) weight_base = head * push.head_dim;
  } else if (head < push.heads + push.kv_heads) {
    uint kv = head - push.heads;
    if (K_NORM != 0u) measure(false, t * push.k_width + push.k_column + kv * push.head_dim);
    if (K_NORM == 2u) weight_base = kv * push.head_dim;
  }
  for (uint e = 2u * gl_LocalInvocationIndex; e < push.head_dim; e += 2u * LOCAL_SIZE) {
    move_pair(t, head, e, position);
  }
#else
  uint words = push.head_dim >> 1;
  uint head = gl_GlobalInvocationID.x / words;
  uint e = 2u * (gl_GlobalInvocationID.x - head * words);
  move_pair(t, head, e, position);
#endif
}
