// Stochastic choice. Each workgroup selects the top-k of its slice exactly, by radix select over
// (key, inverted id); the last stage is one workgroup that also sorts, applies softmax and top-p,
// draws, writes the token and advances the record. Bound by memory, four to eight passes.
#version 450
#extension GL_GOOGLE_include_directive : require
#define RECORD_ACCESS
#include "common/local_size.glsl"
#include "common/step_record.glsl"
#include "common/philox.glsl"

layout(constant_id = 1) const uint FROM_CANDIDATES = 0u;
layout(constant_id = 2) const uint LAST = 1u;

layout(std430, binding = 1) readonly buffer Source { uint logits[]; };
layout(std430, binding = 2) buffer Ids { uint token_ids[]; };
layout(std430, binding = 3) buffer Ring { uint ring[]; };
layout(std430, binding = 4) buffer Candidates { uvec2 candidates[]; };

layout(push_constant) uniform Push {
  uint count;           // logits of this dispatch, or candidates
  uint slice;           // entries of a workgroup
  uint first_id;        // id of the first logit
  uint source_base;     // word of the first logit
  uint candidate_base;  // first slice that this dispatch writes, 256 candidates each
  uint token_slots;     // length of token_ids
} push;

#include "common/sampler.glsl"

const uint kMost = 256u;
shared uint histogram[256];
shared uint keys[256];
shared uint ids[256];
shared float chances[256];
shared uint selected, need, done;
shared uint threshold_key, threshold_rest;

uvec2 entry_at(uint i) {
  if (FROM_CANDIDATES != 0u) return candidates[i];
  return uvec2(logit_key(logits[push.source_base + i]), push.first_id + i);
}

// Leaves the min(k, entries) best of [begin, end) in keys and ids, unordered, and their number in
// `selected`; the other cells hold key 0.
void select_best(uint begin, uint end, uint k) {
  uint lane = gl_LocalInvocationIndex;
  if (lane == 0u) {
    need = k;
    done = 0u;
    selected = 0u;
    threshold_key = 0u;
    threshold_rest = 0u;
  }
  for (uint i = lane; i < kMost; i += LOCAL_SIZE) {
    keys[i] = 0u;
    ids[i] = 0xFFFFFFFFu;
  }
  barrier();
  uint mask_key = 0u, mask_rest = 0u;
  for (uint pass = 0u; pass < 8u; ++pass) {
    for (uint i = lane; i < 256u; i += LOCAL_SIZE) histogram[i] = 0u;
    barrier();
    bool low = pass >= 4u;
    uint shift = 24u - 8u * (pass & 3u);
    uint key = threshold_key, rest = threshold_rest;
    for (uint i = begin + lane; i < end; i += LOCAL_SIZE) {
      uvec2 entry = entry_at(i);
      bool match = entry.x != 0u && ((entry.x ^ key) & mask_key) == 0u &&
                   ((~entry.y ^ rest) & mask_rest) == 0u;
      if (match) atomicAdd(histogram[((low ? ~entry.y : entry.x) >> shift) & 255u], 1u);
    }
    barrier();
    if (lane == 0u) {
      uint left = need;
      uint digit = 0u;
      uint all = 1u;  // fewer entries than wanted: take all
      for (uint d = 0u; d < 256u; ++d) {
        uint count = histogram[255u - d];
        if (count >= left) {
          digit = 255u - d;
          all = 0u;
          if (count == left) done = 1u;
          break;
        }
        left -= count;
      }
      if (all != 0u) {
        done = 1u;
      } else {
        need = left;
        if (low) threshold_rest |= digit << shift; else threshold_key |= digit << shift;
      }
    }
    barrier();
    if (low) mask_rest |= 255u << shift; else mask_key |= 255u << shift;
    if (done != 0u) break;  // shared: uniform
  }
  uint key = threshold_key, rest = threshold_rest;
  for (uint i = begin + lane; i < end; i += LOCAL_SIZE) {
    uvec2 entry = entry_at(i);
    if (entry.x != 0u && (entry.x > key || (entry.x == key && ~entry.y >= rest))) {
      uint slot = atomicAdd(selected, 1u);
      if (slot < kMost) {
        keys[slot] = entry.x;
        ids[slot] = entry.y;
      }
    }
  }
  barrier();
}

// Bitonic sort of the 256 cells, best first; empty cells (key 0) come last.
void sort_best() {
  uint lane = gl_LocalInvocationIndex;
  for (uint size = 2u; size <= 256u; size <<= 1) {
    for (uint stride = size >> 1; stride > 0u; stride >>= 1) {
      for (uint pair = lane; pair < 128u; pair += LOCAL_SIZE) {
        uint i = 2u * pair - (pair & (stride - 1u));
        uint j = i + stride;
        uvec2 a = uvec2(keys[i], ids[i]);
        uvec2 b = uvec2(keys[j], ids[j]);
        bool descending = (i & size) == 0u;
        if (better(b, a) == descending && a != b) {
          keys[i] = b.x;
          ids[i] = b.y;
          keys[j] = a.x;
          ids[j] = a.y;
        }
      }
      barrier();
    }
  }
}

// e^x for x <= 0 to within an ulp: what drivers offer differs in the last bits from the host's.
float exact_exp(float x) {
  if (x < -87.0) return 0.0;
  precise float n = floor(x * 1.44269504088896341 + 0.5);
  precise float r = fma(n, -0.693359375, x);
  r = fma(n, 2.12194440e-4, r);
  precise float y = 1.9875691500e-4;
  y = fma(y, r, 1.3981999507e-3);
  y = fma(y, r, 8.3334519073e-3);
  y = fma(y, r, 4.1665795894e-2);
  y = fma(y, r, 1.6666665459e-1);
  y = fma(y, r, 5.0000001201e-1);
  y = fma(y, r * r, r) + 1.0;
  return y * uintBitsToFloat(uint(int(n) + 127) << 23);
}

uint draw(uint k) {
  float best = key_logit(keys[0]);
  if (keys[0] == logit_key(0xFF800000u) || !(record.temperature > 0.0)) return ids[0];
  precise float sum = 0.0;
  uint positive = 1u;
  for (uint i = 0u; i < k; ++i) {
    float p = chances[i];
    if (p > 0.0) positive = i + 1u;
    sum += p;
    chances[i] = sum;  // now the running sum
  }
  uint kept = k;
  if (record.top_p < 1.0) {
    precise float wanted = record.top_p * sum;
    kept = 1u;
    while (kept < k && chances[kept - 1u] < wanted) ++kept;
  }
  uint position = record.past + record.tokens;
  precise float threshold =
      philox_uniform(record.seed_low, record.seed_high, position) * chances[kept - 1u];
  for (uint i = 0u; i < kept; ++i) {
    if (chances[i] > threshold) return ids[i];
  }
  return ids[min(kept, positive) - 1u];
}

void main() {
  uint lane = gl_LocalInvocationIndex;
  uint begin = gl_WorkGroupID.x * push.slice;
  uint end = min(begin + push.slice, push.count);
  uint k = record.top_k == 0u ? kMost : min(record.top_k, kMost);
  select_best(begin, end, k);
  if (LAST == 0u) {
    uint base = (push.candidate_base + gl_WorkGroupID.x) * kMost;
    for (uint i = lane; i < kMost; i += LOCAL_SIZE) {
      candidates[base + i] = uvec2(keys[i], ids[i]);
    }
    return;
  }
  sort_best();
  for (uint i = lane; i < kMost; i += LOCAL_SIZE) {
    float best = key_logit(keys[0]);
    float value = key_logit(keys[i]);
    float p = 0.0;
    if (keys[i] == keys[0]) {
      p = 1.0;
    } else if (keys[i] > logit_key(0xFF800000u) && keys[0] != logit_key(0x7F800000u)) {
      p = exact_exp((value - best) / record.temperature);
    }
    chances[i] = p;
  }
  barrier();
  if (lane == 0u) finish_step(draw(min(selected, kMost)));
}
