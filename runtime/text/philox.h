// Philox4x32-10 (Salmon et al., SC 2011): random numbers by counter, the same on host and GPU.
#pragma once

#include <array>
#include <cstdint>

namespace pocket {

using PhiloxCounter = std::array<uint32_t, 4>;
using PhiloxKey = std::array<uint32_t, 2>;

constexpr PhiloxCounter philox4x32_10(PhiloxCounter counter, PhiloxKey key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * counter[0];
    const uint64_t b = uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(b),
               static_cast<uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(a)};
    key = {static_cast<uint32_t>(key[0] + uint64_t{0x9E3779B9}),
           static_cast<uint32_t>(key[1] + uint64_t{0xBB67AE85})};
  }
  return counter;
}

// The draw of one position: uniform in [0, 1), a multiple of 2^-24 (exact in float).
constexpr float philox_uniform(uint64_t seed, uint64_t position) {
  const PhiloxCounter out =
      philox4x32_10({static_cast<uint32_t>(position), static_cast<uint32_t>(position >> 32), 0, 0},
                    {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
  return static_cast<float>(out[0] >> 8) * 0x1p-24f;
}

}  // namespace pocket
