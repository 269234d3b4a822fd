// Generic softmax and log-softmax over the inner dimensions: a workgroup a line, which is read
// three times. Bound by memory.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/local_size.glsl"
#include "common/step_record.glsl"
#include "common/words.glsl"
#include "common/activation.glsl"
#include "common/reduce.glsl"
#include "common/generic.glsl"
#include "common/generic_functions.glsl"

const float kLowest = -3.4028234e38;

// exp of a difference to the largest: a mask of minus infinity gives zero on every driver.
float share(float difference) { return exp(max(difference, -200.0)); }

void main() {
  prepare();
  uint lines = count(0u, outer);
  uint n = count(outer, rank);
  for (uint line = gl_WorkGroupID.x; line < lines; line += gl_NumWorkGroups.x) {  // uniform
    ivec4 place = first_place + walk(line, 0u, outer);
    float highest = kLowest;
    for (uint j = gl_LocalInvocationIndex; j < n; j += LOCAL_SIZE) {
      highest = max(highest, a_float((place + walk(j, outer, rank)).y));
    }
    highest = workgroup_max(highest);
    float total = 0.0;
    for (uint j = gl_LocalInvocationIndex; j < n; j += LOCAL_SIZE) {
      total += share(a_float((place + walk(j, outer, rank)).y) - highest);
    }
    total = workgroup_sum(total);
    for (uint j = gl_LocalInvocationIndex; j < n; j += LOCAL_SIZE) {
      ivec4 at = place + walk(j, outer, rank);
      float d = a_float(at.y) - highest;
      store_float(at.x, FUNCTION == kLogSoftmax ? d - log(total) : share(d) / total);
    }
  }
}
