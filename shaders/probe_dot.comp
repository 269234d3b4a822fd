#version 450
// Dot products of four signed bytes: 8 operations each. Every chain is x = low byte of x + 1, so
// that the host knows where it ends after 1024 products a round.
#extension GL_EXT_spirv_intrinsics : require
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint CHAINS = 8u;
layout(std430, binding = 0) writeonly buffer Counts { uint counts[]; };  // by invocation
layout(push_constant) uniform Push {
  uint rounds;
  int factor, addend;  // 1 and 1: unknown to the compiler
} push;

spirv_instruction(extensions = ["SPV_KHR_integer_dot_product"], capabilities = [6019, 6018],
                  id = 4450)
int signed_dot(int a, int b, spirv_literal int packed_bytes);

void main() {
  int total = 0;
  for (uint round = 0u; round < push.rounds; ++round) {
    int x[CHAINS];
    for (uint c = 0u; c < CHAINS; ++c) x[c] = (total & 3) + int(c);
    for (uint i = 0u; i < 128u; ++i) {
#define STEP for (uint c = 0u; c < CHAINS; ++c) x[c] = signed_dot(x[c], push.factor, 0) + push.addend;
      STEP STEP STEP STEP STEP STEP STEP STEP
    }
    for (uint c = 0u; c < CHAINS; ++c) total += x[c];
  }
  counts[gl_GlobalInvocationID.x] = uint(total);
}
