// The codes of a whole input of w8a8 linears, once for all their workgroups: four activations a
// lane, rows of 16-byte units, zero codes beyond the last column. Bound by bandwidth.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/local_size.glsl"
#include "common/step_record.glsl"
#include "common/words.glsl"
#include "common/quantise.glsl"

layout(constant_id = 1) const uint X_F16 = 0u;

layout(std430, binding = 1) readonly buffer X { uint x[]; };
layout(std430, binding = 2) writeonly buffer Codes { uint codes[]; };

layout(push_constant) uniform Push {
  uint columns;
  uint words;  // of a row of codes: a multiple of 4
  uint tokens;
  uint limit_by_record;
  float inverse;  // of the input's step
} push;

void main() {
  uint word = gl_GlobalInvocationID.x, t = gl_WorkGroupID.y;
  uint limit = push.limit_by_record != 0u ? min(record.tokens, push.tokens) : push.tokens;
  uint k = 4u * word, base = t * push.columns, last = push.columns - 1u;
  // Loads outside of any branch: indices are clamped and what lies beyond the row is dropped.
  vec4 value = vec4(LOAD(x, X_F16, base + min(k, last)), LOAD(x, X_F16, base + min(k + 1u, last)),
                    LOAD(x, X_F16, base + min(k + 2u, last)),
                    LOAD(x, X_F16, base + min(k + 3u, last)));
  value = mix(vec4(0.0), value, lessThanEqual(uvec4(k, k + 1u, k + 2u, k + 3u), uvec4(last)));
  if (word < push.words && t < limit) codes[t * push.words + word] = quantise4(value, push.inverse);
}
