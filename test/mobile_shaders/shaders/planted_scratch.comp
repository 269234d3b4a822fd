// The same with a planted fault: a local array indexed by a loop that no compiler can unroll lies in memory.
#version 450
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LOCAL_SIZE = 64u;
layout(std430, binding = 0) readonly buffer X { vec4 x[]; };
layout(std430, binding = 1) writeonly buffer Out { float result[]; };
layout(push_constant) uniform Push { uint count; uint stride; } push;

void main() {
  float sums[256];
  for (uint i = 0u; i < 256u; ++i) sums[i] = float(i);
  for (uint i = gl_LocalInvocationIndex; i < push.count; i += push.stride) {
    sums[i % 256u] += dot(x[i], vec4(1.0, 2.0, 3.0, 4.0));
  }
  float sum = 0.0;
  for (uint i = 0u; i < push.stride; ++i) sum += sums[i % 256u];
  result[gl_GlobalInvocationID.x] = sum;
}
