// Generic reductions, matrix products and running sums: a lane owns one result (one line) and loops
// over the inner dimensions. Plain: bound by memory latency.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/local_size.glsl"
#include "common/step_record.glsl"
#include "common/words.glsl"
#include "common/activation.glsl"
#include "common/generic.glsl"
#include "common/generic_functions.glsl"

const uint kPiece = 32768u;  // turns of one loop

bool is_arg() { return FUNCTION == kReduceArgmax || FUNCTION == kReduceArgmin; }

void reduce_float(ivec4 place, uint n) {
  float value = FUNCTION == kReduceProd ? 1.0 : 0.0;
  if (FUNCTION == kReduceMax || FUNCTION == kReduceArgmax) value = -kInfinity;
  if (FUNCTION == kReduceMin || FUNCTION == kReduceArgmin) value = kInfinity;
  uint best = 0u;
  for (uint piece = 0u; piece < n; piece += kPiece) {
    uint end = min(n, piece + kPiece);
    for (uint j = piece; j < end; ++j) {
      ivec4 at = place + walk(j, outer, rank);
      float x = a_float(at.y);
      if (FUNCTION == kDot) x *= b_float(at.z);
      if (FUNCTION == kReduceL1) x = abs(x);
      if (FUNCTION == kReduceL2 || FUNCTION == kReduceSumSquare) x *= x;
      bool better = FUNCTION == kReduceArgmin ? x < value : x > value;
      if (is_arg() && better) best = j;
      if (FUNCTION == kReduceProd) value *= x;
      else if (FUNCTION == kReduceMax || FUNCTION == kReduceArgmax) value = max(value, x);
      else if (FUNCTION == kReduceMin || FUNCTION == kReduceArgmin) value = min(value, x);
      else value += x;
    }
  }
  if (FUNCTION == kReduceMean) value /= float(n);
  if (FUNCTION == kReduceL2) value = sqrt(value);
  if (is_arg()) store_int(place.x, int(best));
  else store_float(place.x, value);
}

void reduce_int(ivec4 place, uint n) {
  int value = FUNCTION == kReduceProd ? 1 : 0;
  if (FUNCTION == kReduceMax || FUNCTION == kReduceArgmax) value = -2147483647;
  if (FUNCTION == kReduceMin || FUNCTION == kReduceArgmin) value = 2147483647;
  uint best = 0u;
  for (uint piece = 0u; piece < n; piece += kPiece) {
    uint end = min(n, piece + kPiece);
    for (uint j = piece; j < end; ++j) {
      ivec4 at = place + walk(j, outer, rank);
      int x = a_int(at.y);
      if (FUNCTION == kDot) x *= b_int(at.z);
      if (FUNCTION == kReduceL1) x = abs(x);
      if (FUNCTION == kReduceL2 || FUNCTION == kReduceSumSquare) x *= x;
      bool better = FUNCTION == kReduceArgmin ? x < value : x > value;
      if (is_arg() && better) best = j;
      if (FUNCTION == kReduceProd) value *= x;
      else if (FUNCTION == kReduceMax || FUNCTION == kReduceArgmax) value = max(value, x);
      else if (FUNCTION == kReduceMin || FUNCTION == kReduceArgmin) value = min(value, x);
      else value += x;
    }
  }
  if (FUNCTION == kReduceMean) value = to_int(float(value) / float(n));
  if (FUNCTION == kReduceL2) value = to_int(sqrt(float(value)));
  store_int(place.x, is_arg() ? int(best) : value);
}

// Running sum along the inner dimension; scalar 0: a result leaves its own element out.
void accumulate(ivec4 place, uint n) {
  bool exclusive = scalar[0] != 0;
  float total = 0.0;
  int whole = 0;
  for (uint piece = 0u; piece < n; piece += kPiece) {
    uint end = min(n, piece + kPiece);
    for (uint j = piece; j < end; ++j) {
      ivec4 at = place + walk(j, outer, rank);
      if (INTEGER != 0u) {
        int x = a_int(at.y);
        store_int(at.x, exclusive ? whole : whole + x);
        whole += x;
      } else {
        float x = a_float(at.y);
        store_float(at.x, exclusive ? total : total + x);
        total += x;
      }
    }
  }
}

void main() {
  prepare();
  uint results = count(0u, outer);
  uint n = count(outer, rank);
  uint step = gl_NumWorkGroups.x * LOCAL_SIZE;
  for (uint i = gl_GlobalInvocationID.x; i < results; i += step) {
    ivec4 place = first_place + walk(i, 0u, outer);
    if (FUNCTION == kCumsum) accumulate(place, n);
    else if (INTEGER != 0u) reduce_int(place, n);
    else reduce_float(place, n);
  }
}
