// y = norm(x + residual) * weight + bias, and the sum. One workgroup a row; the row is read again
// for the second moment and the result instead of being kept, so that width has no limit.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/subgroup.glsl"
#include "common/local_size.glsl"
#include "common/step_record.glsl"
#include "common/words.glsl"
#include "common/reduce.glsl"

layout(constant_id = 1) const uint LAYER = 0u;  // 0 rms, 1 layer
layout(constant_id = 2) const uint X_F16 = 0u;
layout(constant_id = 3) const uint RESIDUAL = 0u;  // 0 none, 1 f32, 2 f16
layout(constant_id = 4) const uint WEIGHT = 0u;    // 0 none, 1 f32, 2 f16
layout(constant_id = 5) const uint BIAS = 0u;      // 0 none, 1 f32, 2 f16
layout(constant_id = 6) const uint OUT_F16 = 0u;
layout(constant_id = 7) const uint SUM = 0u;       // 0 none, 1 f32, 2 f16

layout(std430, binding = 1) readonly buffer X { uint x_words[]; };
layout(std430, binding = 2) readonly buffer Residual { uint residual_words[]; };
layout(std430, binding = 3) readonly buffer Weight { uint weight_words[]; };
layout(std430, binding = 4) readonly buffer Bias { uint bias_words[]; };
layout(std430, binding = 5) writeonly buffer Out { uint out_words[]; };
layout(std430, binding = 6) writeonly buffer Sum { uint sum_words[]; };

layout(push_constant) uniform Push {
  uint width;
  uint limit_by_record;
  float epsilon;
} push;

float source(uint i) {
  float value = LOAD(x_words, X_F16, i);
  if (RESIDUAL != 0u) value += LOAD(residual_words, RESIDUAL - 1u, i);
  return value;
}

float scaled(float value, uint column) {
  if (WEIGHT != 0u) value *= LOAD(weight_words, WEIGHT - 1u, column);
  if (BIAS != 0u) value += LOAD(bias_words, BIAS - 1u, column);
  return value;
}

void main() {
  uint row = gl_WorkGroupID.x;
  if (push.limit_by_record != 0u && row >= record.tokens) return;  // uniform over the workgroup
  uint lane = gl_LocalInvocationIndex;
  uint base = row * push.width;

  float mean = 0.0;
  if (LAYER != 0u) {
    float total = 0.0;
    for (uint c = lane; c < push.width; c += LOCAL_SIZE) total += source(base + c);
    mean = workgroup_sum(total) / float(push.width);
  }
  float squares = 0.0;
  for (uint c = lane; c < push.width; c += LOCAL_SIZE) {
    float d = source(base + c) - mean;
    squares += d * d;
  }
  float factor = inversesqrt(workgroup_sum(squares) / float(push.width) + push.epsilon);

  for (uint c = 2u * lane; c < push.width; c += 2u * LOCAL_SIZE) {
    bool second = c + 1u < push.width;
    uint c1 = second ? c + 1u : c;
    vec2 value = vec2(source(base + c), source(base + c1));
    if (SUM != 0u) STORE2(sum_words, SUM - 1u, base + c, value, second)
    value = vec2(scaled((value.x - mean) * factor, c), scaled((value.y - mean) * factor, c1));
    STORE2(out_words, OUT_F16, base + c, value, second)
  }
}
