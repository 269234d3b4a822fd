// Philox4x32-10, the twin of runtime/text/philox.h: uniform in [0, 1), a multiple of 2^-24.
float philox_uniform(uint seed_low, uint seed_high, uint position) {
  uvec4 counter = uvec4(position, 0u, 0u, 0u);
  uvec2 key = uvec2(seed_low, seed_high);
  for (uint round = 0u; round < 10u; ++round) {
    uint a_high, a_low, b_high, b_low;
    umulExtended(0xD2511F53u, counter.x, a_high, a_low);
    umulExtended(0xCD9E8D57u, counter.z, b_high, b_low);
    counter = uvec4(b_high ^ counter.y ^ key.x, b_low, a_high ^ counter.w ^ key.y, a_low);
    key += uvec2(0x9E3779B9u, 0xBB67AE85u);
  }
  return float(counter.x >> 8) * (1.0 / 16777216.0);
}
