// Unary, binary and row selection over [rows, width]. A lane owns two neighbouring elements of a
// row. Bound by memory; the fused forms live in the epilogues of the matrix kernels.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/local_size.glsl"
#include "common/step_record.glsl"
#include "common/words.glsl"
#include "common/activation.glsl"

layout(constant_id = 1) const uint OPERATION = 0u;  // 0 act(a * scale), 1 a + b, 2 a * b, 3 select, 4 a - b, 5 a / b
layout(constant_id = 2) const uint A_F16 = 0u;
layout(constant_id = 3) const uint B_F16 = 0u;
layout(constant_id = 4) const uint OUT_F16 = 0u;
layout(constant_id = 5) const uint B_IS_ROW = 0u;   // b is one row, broadcast
layout(constant_id = 6) const uint ACTIVATION = 0u;

layout(std430, binding = 1) readonly buffer A { uint a_words[]; };
layout(std430, binding = 2) readonly buffer B { uint b_words[]; };
layout(std430, binding = 3) writeonly buffer Out { uint out_words[]; };

layout(push_constant) uniform Push {
  uint width;
  uint rows;
  uint limit_by_record;  // rows beyond record.tokens are padding
  uint source_rows;      // select: rows of a
  float scale;
} push;

float load_a(uint i) { return LOAD(a_words, A_F16, i); }
float load_b(uint i) { return LOAD(b_words, B_F16, i); }

void main() {
  uint row = gl_WorkGroupID.y;
  uint column = 2u * gl_GlobalInvocationID.x;
  if (column >= push.width || row >= push.rows) return;
  if (push.limit_by_record != 0u && row >= record.tokens) return;
  bool second = column + 1u < push.width;
  uint next = second ? 1u : 0u;
  uint out_index = row * push.width + column;
  uint source = OPERATION == 3u ? min(record.head_row + row, push.source_rows - 1u) : row;
  uint a_index = source * push.width + column;
  vec2 value = vec2(load_a(a_index), load_a(a_index + next));
  if (OPERATION == 0u) {
    value = vec2(activate(ACTIVATION, value.x * push.scale), activate(ACTIVATION, value.y * push.scale));
  } else if (OPERATION != 3u) {
    uint b_index = B_IS_ROW != 0u ? column : out_index;
    vec2 other = vec2(load_b(b_index), load_b(b_index + next));
    if (OPERATION == 1u) value += other;
    if (OPERATION == 2u) value *= other;
    if (OPERATION == 4u) value -= other;
    if (OPERATION == 5u) value /= other;
  }
  STORE2(out_words, OUT_F16, out_index, value, second)
}
