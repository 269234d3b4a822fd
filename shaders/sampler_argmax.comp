// Greedy choice. Each workgroup reduces a slice of the logits, or of the winners of a first stage;
// the last stage is one workgroup that writes the token and advances the record. Bound by memory.
#version 450
#extension GL_GOOGLE_include_directive : require
#define RECORD_ACCESS
#include "common/local_size.glsl"
#include "common/step_record.glsl"

layout(constant_id = 1) const uint FROM_CANDIDATES = 0u;
layout(constant_id = 2) const uint LAST = 1u;

layout(std430, binding = 1) readonly buffer Source { uint logits[]; };
layout(std430, binding = 2) buffer Ids { uint token_ids[]; };
layout(std430, binding = 3) buffer Ring { uint ring[]; };
layout(std430, binding = 4) buffer Winners { uvec2 winners[]; };

layout(push_constant) uniform Push {
  uint count;        // logits of this dispatch, or winners
  uint slice;        // entries of a workgroup
  uint first_id;     // id of the first logit
  uint source_base;  // word of the first logit
  uint winner_base;  // first winner that this dispatch writes
  uint token_slots;  // length of token_ids
} push;

#include "common/sampler.glsl"

shared uint keys[LOCAL_SIZE];
shared uint ids[LOCAL_SIZE];

void main() {
  uint lane = gl_LocalInvocationIndex;
  uint begin = gl_WorkGroupID.x * push.slice;
  uint end = min(begin + push.slice, push.count);
  uvec2 best = uvec2(0u, 0xFFFFFFFFu);
  for (uint i = begin + lane; i < end; i += LOCAL_SIZE) {
    uvec2 entry;
    if (FROM_CANDIDATES != 0u) {
      entry = winners[i];
    } else {
      entry = uvec2(logit_key(logits[push.source_base + i]), push.first_id + i);
    }
    if (better(entry, best)) best = entry;
  }
  keys[lane] = best.x;
  ids[lane] = best.y;
  barrier();
  for (uint step = LOCAL_SIZE >> 1; step > 0u; step >>= 1) {
    if (lane < step) {
      uvec2 a = uvec2(keys[lane], ids[lane]);
      uvec2 b = uvec2(keys[lane + step], ids[lane + step]);
      if (better(b, a)) {
        keys[lane] = b.x;
        ids[lane] = b.y;
      }
    }
    barrier();
  }
  if (lane != 0u) return;
  if (LAST != 0u) {
    finish_step(ids[0]);
  } else {
    winners[push.winner_base + gl_WorkGroupID.x] = uvec2(keys[0], ids[0]);
  }
}
