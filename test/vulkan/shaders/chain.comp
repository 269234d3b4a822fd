#version 450
// out[i] = in[n - 1 - i] + 1: a wrong order of two of these shows.
layout(local_size_x_id = 0) in;
layout(binding = 0) readonly buffer In { uint from[]; };
layout(binding = 1) writeonly buffer Out { uint to[]; };
layout(push_constant) uniform Push { uint count; } push;
void main() {
  uint i = gl_GlobalInvocationID.x;
  if (i < push.count) to[i] = from[push.count - 1 - i] + 1;
}
