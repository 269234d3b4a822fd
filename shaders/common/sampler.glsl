// Order of candidates and the end of a step, shared by the sampler's kernels. The host's twin is
// runtime/text/sampler.h: NaN counts as -inf, the lowest id wins ties.
//
// A candidate is (key, id): key orders like the logit, as an unsigned integer; 0 is no candidate.
uint logit_key(uint bits) {
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) bits = 0xFF800000u;  // NaN, without isnan
  if (bits == 0x80000000u) bits = 0u;                          // -0 equals +0
  return (bits & 0x80000000u) != 0u ? ~bits : bits | 0x80000000u;
}

float key_logit(uint key) {
  return uintBitsToFloat((key & 0x80000000u) != 0u ? key & 0x7FFFFFFFu : ~key);
}

bool better(uvec2 a, uvec2 b) { return a.x > b.x || (a.x == b.x && a.y < b.y); }

// Writes the chosen token and moves the record to the next step. One invocation calls it.
void finish_step(uint id) {
  uint next = record.past + record.tokens;
  if (next < push.token_slots) token_ids[next] = id;
  ring[record.step & (record.ring_size - 1u)] = id;
  record.past = next;
  record.tokens = 1u;
  record.head_row = 0u;
  record.step = record.step + 1u;
}
