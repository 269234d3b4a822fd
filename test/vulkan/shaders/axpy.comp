#version 450
// y[i] += a * x[i]
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint kScale = 1;
layout(binding = 0) readonly buffer X { uint x[]; };
layout(binding = 1) buffer Y { uint y[]; };
layout(push_constant) uniform Push { uint count; } push;
void main() {
  uint i = gl_GlobalInvocationID.x;
  if (i < push.count) y[i] += kScale * x[i];
}
