// The activation sums of the groups of 4-bit weights, once for all workgroups, row ranges and matrices of a
// gemm: sums[group][activation row], rows padded to a multiple of 4, which a tile reads side by side. A lane owns a
// group of a row. Loads stand outside of any branch: indices are clamped, and what lies behind the last column
// counts as zero. Bound by bandwidth.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/local_size.glsl"
#include "common/step_record.glsl"
#include "common/words.glsl"

layout(constant_id = 1) const uint X_F16 = 0u;
layout(constant_id = 2) const uint ALIGNED = 1u;    // columns divide by 4: vector loads
layout(constant_id = 3) const uint AS_HALVES = 0u;  // the products take the activations as f16
layout(constant_id = 4) const uint GROUP = 32u;     // columns of a group

layout(std430, binding = 1) readonly buffer X1 { uint x1[]; };
layout(std430, binding = 1) readonly buffer X2 { uvec2 x2[]; };
layout(std430, binding = 1) readonly buffer X4 { uvec4 x4[]; };
layout(std430, binding = 2) writeonly buffer Sums { float sums[]; };

layout(push_constant) uniform Push {
  uint columns;
  uint groups;  // of a row, of which the last may be short or empty
  uint tokens;
  uint limit_by_record;
} push;

vec4 from_halves(uvec2 words) { return vec4(unpackHalf2x16(words.x), unpackHalf2x16(words.y)); }

// Activations k..k+3 of the row at element `base`.
vec4 load_x(uint base, uint k, uint columns) {
  if (ALIGNED != 0u) {
    uint i = (base + min(k, columns - 4u)) >> 2;
    vec4 value = X_F16 != 0u ? from_halves(x2[i]) : uintBitsToFloat(x4[i]);
    return k < columns ? value : vec4(0.0);
  }
  uint last = columns - 1u;
  vec4 value = vec4(LOAD(x1, X_F16, base + min(k, last)), LOAD(x1, X_F16, base + min(k + 1u, last)),
                    LOAD(x1, X_F16, base + min(k + 2u, last)),
                    LOAD(x1, X_F16, base + min(k + 3u, last)));
  return mix(vec4(0.0), value, lessThanEqual(uvec4(k, k + 1u, k + 2u, k + 3u), uvec4(last)));
}

void main() {
  uint groups = push.groups, columns = push.columns, tokens = push.tokens;
  uint t = gl_GlobalInvocationID.x / groups, g = gl_GlobalInvocationID.x % groups;
  uint limit = push.limit_by_record != 0u ? min(record.tokens, tokens) : tokens;
  uint base = min(t, tokens - 1u) * columns;
  vec4 sum = vec4(0.0);
  for (uint k = 0u; k < GROUP; k += 4u) {
    vec4 value = load_x(base, g * GROUP + k, columns);
    if (AS_HALVES != 0u) value = from_halves(uvec2(packHalf2x16(value.xy), packHalf2x16(value.zw)));
    sum += value;
  }
  if (t < limit) sums[g * ((tokens + 3u) & ~3u) + t] = (sum.x + sum.y) + (sum.z + sum.w);
}
