#version 450
// Reads `count` 16-byte words: the read bandwidth that reports compare decode with. A workgroup
// reads a range of its own, `count` divided by the number of workgroups, front to back; the sum
// proves that every word was read. Far below 65,535 iterations of a lane.
layout(local_size_x_id = 0) in;
#ifdef TEXELS
layout(binding = 0, rgba32ui) readonly uniform uimageBuffer from_texels;
#define FROM(i) imageLoad(from_texels, int(i))
#else
layout(std430, binding = 0) readonly buffer From { uvec4 from_words[]; };
#define FROM(i) from_words[i]
#endif
layout(std430, binding = 1) buffer Sums { uint sums[]; };  // by invocation, added to
layout(push_constant) uniform Push { uint count; } push;

void main() {
  uint each = push.count / gl_NumWorkGroups.x;
  uint at = gl_WorkGroupID.x * each;
  uint end = at + each;
  uvec4 a = uvec4(0u), b = uvec4(0u), c = uvec4(0u), d = uvec4(0u);
  uint stride = gl_WorkGroupSize.x;
  for (uint i = at + gl_LocalInvocationIndex; i < end; i += 4u * stride) {
    a += FROM(i);
    b += FROM(i + stride);
    c += FROM(i + 2u * stride);
    d += FROM(i + 3u * stride);
  }
  a += b + c + d;
  sums[gl_GlobalInvocationID.x] += a.x + a.y + a.z + a.w;
}
