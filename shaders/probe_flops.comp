#version 450
// Multiply-adds in registers: the arithmetic peak that reports compare prefill with. Every chain
// counts up by one, 1024 times a round, exact in fp16 too; the sum of all counts proves that they
// ran. The loops are nested because one must stay below 65,535 iterations.
#ifdef HALF
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#define VECTOR f16vec4
#define NUMBER float16_t
#else
#define VECTOR vec4
#define NUMBER float
#endif
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint CHAINS = 2u;
layout(std430, binding = 0) writeonly buffer Counts { uint counts[]; };  // by invocation
layout(push_constant) uniform Push {
  uint rounds;
  float factor, addend;  // 1 and 1: unknown to the compiler
} push;

void main() {
  VECTOR factor = VECTOR(NUMBER(push.factor)), addend = VECTOR(NUMBER(push.addend));
  uint total = 0u;
  for (uint round = 0u; round < push.rounds; ++round) {
    VECTOR x[CHAINS];
    // Zero, but not before the last round has ended.
    for (uint c = 0u; c < CHAINS; ++c) x[c] = VECTOR(NUMBER(total & 1u));
    for (uint i = 0u; i < 128u; ++i) {
#define STEP for (uint c = 0u; c < CHAINS; ++c) x[c] = fma(x[c], factor, addend);
      STEP STEP STEP STEP STEP STEP STEP STEP
    }
    for (uint c = 0u; c < CHAINS; ++c) {
      total += uint(x[c].x) + uint(x[c].y) + uint(x[c].z) + uint(x[c].w);
    }
  }
  counts[gl_GlobalInvocationID.x] = total;
}
