// A kernel that is well: one loop of unknown length around four loads, nothing in memory of its own.
#version 450
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LOCAL_SIZE = 64u;
layout(std430, binding = 0) readonly buffer X { vec4 x[]; };
layout(std430, binding = 1) writeonly buffer Out { float result[]; };
layout(push_constant) uniform Push { uint count; uint stride; } push;

void main() {
  float sum = 0.0;
  for (uint i = gl_LocalInvocationIndex; i < push.count; i += push.stride) sum += dot(x[i], vec4(1.0, 2.0, 3.0, 4.0));
  result[gl_GlobalInvocationID.x] = sum;
}
