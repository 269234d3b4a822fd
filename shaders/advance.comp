// End of a prefill chunk that samples nothing: one invocation moves the record to the next chunk.
#version 450
#extension GL_GOOGLE_include_directive : require
#define RECORD_ACCESS
#include "common/local_size.glsl"
#include "common/step_record.glsl"

void main() {
  if (gl_GlobalInvocationID.x != 0u) return;
  uint past = record.past + record.tokens;
  record.past = past;
  record.tokens = record.target > past ? min(record.chunk, record.target - past) : 0u;
}
