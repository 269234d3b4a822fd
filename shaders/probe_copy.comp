#version 450
// Copies `count` 16-byte words: the copy bandwidth that reports compare kernels with. Neighbouring
// lanes move neighbouring words; the stride keeps a lane's loop far below the 65,535 iterations
// after which lavapipe ends a loop silently.
layout(local_size_x_id = 0) in;
layout(binding = 0) readonly buffer From { uvec4 from_words[]; };
layout(binding = 1) writeonly buffer To { uvec4 to_words[]; };
layout(push_constant) uniform Push { uint count; } push;

void main() {
  uint stride = gl_NumWorkGroups.x * gl_WorkGroupSize.x;
  uint count = push.count;  // a software device fetches a push constant lane by lane
  for (uint i = gl_GlobalInvocationID.x; i < count; i += stride) to_words[i] = from_words[i];
}
