// Gathers rows of a table of any encoding: out[t, :] = scale * table[row, :], where row is the
// token's id, or its position (learned positions, added to what is there). One dispatch per range
// of table rows: rows outside the range are left alone. A lane owns one 16-byte unit of a row.
// GROUP16: a 4-bit table in groups of 16. Bound by memory; one row a token.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/local_size.glsl"
#include "common/step_record.glsl"
#include "common/words.glsl"

layout(constant_id = 1) const uint ENCODING = 0u;    // pocket::Encoding: f32, f16, int4, m0e4
layout(constant_id = 2) const uint BY_POSITION = 0u;
layout(constant_id = 3) const uint ADD = 0u;
layout(constant_id = 4) const uint OUT_F16 = 0u;

layout(std430, binding = 1) readonly buffer Ids { int token_ids[]; };
layout(std430, binding = 2) readonly buffer Codes { uvec4 codes[]; };
layout(std430, binding = 3) readonly buffer Pairs { uint pairs[]; };
layout(std430, binding = 4) buffer Out { uint out_words[]; };

layout(push_constant) uniform Push {
  uint width;
  uint units;        // 16-byte units of a row
  uint first_row;    // range of table rows that this dispatch holds
  uint rows;
  uint group_units;  // units of a quantisation group
  uint groups;       // of a row
  uint pairs_base;
  int position_offset;
  float scale;
} push;

void put(uint row, uint column, vec2 value) {
  if (column >= push.width) return;
  uint i = row * push.width + column;
  bool second = column + 1u < push.width;
  if (ADD != 0u) {
    value.x += LOAD(out_words, OUT_F16, i);
    if (second) value.y += LOAD(out_words, OUT_F16, i + 1u);
  }
  STORE2(out_words, OUT_F16, i, value, second)
}

void put_codes(uint row, uint column, uint word, vec2 pair) {
  for (uint i = 0u; i < 4u; ++i) {
    uint bits = ((i < 2u ? word << (6u - 4u * i) : word >> (4u * i - 6u)) & 0x03C003C0u) | 0x3C003C00u;
    put(row, column + 2u * i, unpackHalf2x16(bits) * pair.x + pair.y);
  }
}

void main() {
  uint unit = gl_GlobalInvocationID.x;
  uint t = gl_WorkGroupID.y;
  if (unit >= push.units || t >= record.tokens) return;
  uint position = record.past + t;
  int wanted = BY_POSITION != 0u ? int(position) + push.position_offset : token_ids[position];
  uint row = uint(wanted) - push.first_row;
  if (wanted < 0 || row >= push.rows) return;

  uint block = row & ~31u;
  uint block_rows = min(32u, push.rows - block);
  uvec4 word = codes[block * push.units + unit * block_rows + (row & 31u)];
  if (ENCODING == 0u) {
    vec4 value = uintBitsToFloat(word) * push.scale;
    put(t, 4u * unit, value.xy);
    put(t, 4u * unit + 2u, value.zw);
  } else if (ENCODING == 1u) {
    put(t, 8u * unit, unpackHalf2x16(word.x) * push.scale);
    put(t, 8u * unit + 2u, unpackHalf2x16(word.y) * push.scale);
    put(t, 8u * unit + 4u, unpackHalf2x16(word.z) * push.scale);
    put(t, 8u * unit + 6u, unpackHalf2x16(word.w) * push.scale);
  } else {
#ifdef GROUP16  // two groups a unit
    uint at = push.pairs_base + block * push.groups + 2u * unit * block_rows + (row & 31u);
    vec2 pair = unpackHalf2x16(pairs[at]), high_pair = unpackHalf2x16(pairs[at + block_rows]);
    if (ENCODING == 2u) high_pair = vec2(16.0 * high_pair.x, -(16.0 + high_pair.y) * high_pair.x);
    high_pair *= push.scale;
#else
    uint group = unit / push.group_units;
    vec2 pair = unpackHalf2x16(pairs[push.pairs_base + block * push.groups + group * block_rows + (row & 31u)]);
#define high_pair pair
#endif
    if (ENCODING == 2u) pair = vec2(16.0 * pair.x, -(16.0 + pair.y) * pair.x);
    pair *= push.scale;
    put_codes(t, 32u * unit, word.x, pair);
    put_codes(t, 32u * unit + 8u, word.y, pair);
    put_codes(t, 32u * unit + 16u, word.z, high_pair);
    put_codes(t, 32u * unit + 24u, word.w, high_pair);
  }
}
