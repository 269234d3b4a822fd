// Rotates q and k by position, writes q [tokens, heads * head_dim], and k and v as rows
// [past, past + tokens) of the states, in place (Transformer-Lite, sub-tensor KV cache). A lane
// owns two neighbouring elements of one head. Bound by memory.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/local_size.glsl"
#include "common/step_record.glsl"
#include "common/words.glsl"

layout(constant_id = 1) const uint Q_F16 = 0u;
layout(constant_id = 2) const uint K_F16 = 0u;
layout(constant_id = 3) const uint V_F16 = 0u;
layout(constant_id = 4) const uint STATE_F16 = 1u;
layout(constant_id = 5) const uint OUT_F16 = 0u;
layout(constant_id = 6) const uint INTERLEAVED = 0u;

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
} push;

float load_q(uint i) { return LOAD(q_words, Q_F16, i); }
float load_k(uint i) { return LOAD(k_words, K_F16, i); }
float load_v(uint i) { return LOAD(v_words, V_F16, i); }

// Element e of a head that starts at `base`, rotated.
float rotated(bool is_q, uint base, uint e, uint position) {
  float x = is_q ? load_q(base + e) : load_k(base + e);
  if (e >= 2u * push.half_dim) return x;
  uint angle = INTERLEAVED != 0u ? e >> 1 : (e < push.half_dim ? e : e - push.half_dim);
  bool first = INTERLEAVED != 0u ? (e & 1u) == 0u : e < push.half_dim;
  uint distance = INTERLEAVED != 0u ? 1u : push.half_dim;
  uint other = first ? e + distance : e - distance;
  float y = is_q ? load_q(base + other) : load_k(base + other);
  uint row = position * 2u * push.half_dim;
  float c = rope[row + angle];
  float s = rope[row + push.half_dim + angle];
  return first ? x * c - y * s : x * c + y * s;
}

void main() {
  uint t = gl_WorkGroupID.y;
  uint words = push.head_dim >> 1;
  uint head = gl_GlobalInvocationID.x / words;
  uint e = 2u * (gl_GlobalInvocationID.x - head * words);
  uint position = record.past + t;
  if (t >= record.tokens || position >= push.context) return;
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
