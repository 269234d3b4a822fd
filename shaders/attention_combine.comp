// Second reduction of decode attention over a split context: a lane owns an element pair of a head
// and weighs what the parts left behind. Bound by latency.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/local_size.glsl"
#include "common/step_record.glsl"
#include "common/words.glsl"
#include "common/parts.glsl"

layout(constant_id = 1) const uint HEAD_DIM = 64u;
layout(constant_id = 3) const uint OUT_F16 = 0u;

layout(std430, binding = 1) readonly buffer Partial { float partial[]; };
layout(std430, binding = 2) writeonly buffer Out { uint out_words[]; };

layout(push_constant) uniform Push {
  uint heads;
  uint context;  // rows of the states
  uint window;   // 0: all positions
} push;

void main() {
  const uint words = HEAD_DIM / 2u;
  uint head = gl_GlobalInvocationID.x / words;
  uint word = gl_GlobalInvocationID.x - head * words;
  if (record.tokens == 0u || head >= push.heads) return;
  uint seen = min(record.past + 1u, push.context);
  if (push.window != 0u) seen = min(seen, push.window);
  uint span = part_span(seen);
  uint count = (seen + span - 1u) / span;
  float highest = -1e30, total = 0.0;
  vec2 sum = vec2(0.0);
  for (uint part = 0u; part < count; ++part) {
    uint base = part_base(part, push.heads, head, HEAD_DIM);
    float other = partial[base + HEAD_DIM];
    float next = max(highest, other);
    float shrink = exp(highest - next), weight = exp(other - next);
    total = total * shrink + weight * partial[base + HEAD_DIM + 1u];
    sum = sum * shrink + weight * vec2(partial[base + 2u * word], partial[base + 2u * word + 1u]);
    highest = next;
  }
  sum /= total;
  STORE2(out_words, OUT_F16, head * HEAD_DIM + 2u * word, sum, true)
}
