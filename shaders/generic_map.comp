// Generic steps without an inner loop: functions of up to three views, element by element, and
// gather and scatter through an index. A lane strides over the domain; the count comes from the
// step record, so that nothing is computed for padding. Bound by memory and by index arithmetic.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/local_size.glsl"
#include "common/step_record.glsl"
#include "common/words.glsl"
#include "common/activation.glsl"
#include "common/generic.glsl"
#include "common/generic_functions.glsl"

// Distance that the index at b's place chooses; `inside` is false when it leaves its bounds.
int chosen(int place, out bool inside) {
  int distance = 0;
  inside = true;
  uint components = uint(parameters[2]) >> 1;
  for (uint k = 0u; k < components; ++k) {
    int length = scalar[1u + 2u * k];
    int index = b_int(place + int(k) * scalar[0]);
    if (index < 0) index += length;
    inside = inside && index >= 0 && index < length;
    distance += clamp(index, 0, max(length - 1, 0)) * scalar[2u + 2u * k];
  }
  return distance;
}

void element(ivec4 place) {
  if (FUNCTION == kGather || FUNCTION == kScatter) {
    bool inside;
    int distance = chosen(place.z, inside);
    if (FUNCTION == kGather) {
      place.y += distance;
    } else if (inside) {
      place.x += distance;
    } else {
      return;
    }
    if (INTEGER != 0u) store_int(place.x, a_int(place.y));
    else store_float(place.x, a_float(place.y));
  } else if (INTEGER != 0u) {
    int x = a_int(place.y);
    if (FUNCTION < kAdd) store_int(place.x, unary_int(x));
    else if (FUNCTION < kWhere) store_int(place.x, binary_int(x, b_int(place.z)));
    else if (FUNCTION == kWhere) store_int(place.x, x != 0 ? b_int(place.z) : c_int(place.w));
    else store_int(place.x, min(max(x, b_int(place.z)), c_int(place.w)));
  } else {
    float x = a_float(place.y);
    if (FUNCTION < kAdd) store_float(place.x, unary_float(x));
    else if (FUNCTION < kWhere) store_float(place.x, binary_float(x, b_float(place.z)));
    else if (FUNCTION == kWhere) store_float(place.x, x != 0.0 ? b_float(place.z) : c_float(place.w));
    else store_float(place.x, min(max(x, b_float(place.z)), c_float(place.w)));
  }
}

void main() {
  prepare();
  uint n = count(0u, rank);
  uint step = gl_NumWorkGroups.x * LOCAL_SIZE;
  for (uint i = gl_GlobalInvocationID.x; i < n; i += step) element(first_place + walk(i, 0u, rank));
}
