// Products of packed int8 in both forms that phones have; SIGNED_PAIR: signed x signed, else signed x unsigned.
#version 450
#extension GL_EXT_spirv_intrinsics : require
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LOCAL_SIZE = 64u;
layout(std430, binding = 0) readonly buffer A { int a[]; };
layout(std430, binding = 1) readonly buffer B { uint b[]; };
layout(std430, binding = 2) writeonly buffer Out { int result[]; };
layout(push_constant) uniform Push { uint count; uint stride; } push;

#ifdef SIGNED_PAIR
spirv_instruction(extensions = ["SPV_KHR_integer_dot_product"], capabilities = [6018, 6019], id = 4450)
int dot4(int a, int b, spirv_literal int format);
#define DOT(x, y) dot4(x, int(y), 0)
#else
spirv_instruction(extensions = ["SPV_KHR_integer_dot_product"], capabilities = [6018, 6019], id = 4452)
int dot4(int a, uint b, spirv_literal int format);
#define DOT(x, y) dot4(x, y, 0)
#endif

void main() {
  int sum = 0;
  for (uint i = gl_LocalInvocationIndex; i < push.count; i += push.stride) sum += DOT(a[i], b[i]);
  result[gl_GlobalInvocationID.x] = sum;
}
