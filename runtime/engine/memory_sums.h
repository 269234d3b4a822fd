// Planned device memory by kind: said before anything is allocated.
#pragma once

#include <cstdint>
#include <string>

namespace pocket {

struct MemorySums {
  uint64_t weights = 0;   // all shards
  uint64_t rope = 0;      // tables of cosines and sines
  uint64_t kv = 0;        // KV states at the full context
  uint64_t arena = 0;     // activations of all slots
  uint64_t scratch = 0;   // of all slots
  uint64_t control = 0;   // step records, token ids, ring
  uint64_t readback = 0;  // host-visible copy of logits
  uint64_t staging = 0;   // upload buffer, freed after load

  uint64_t total() const {
    return weights + rope + kv + arena + scratch + control + readback + staging;
  }
};

// "weights 12.3 MiB + KV 4.0 MiB + ... = 20.1 MiB"
std::string memory_text(const MemorySums&);

// Throws Error(out_of_memory) with the sums when the total exceeds `available` bytes.
void require_fit(const MemorySums&, uint64_t available);

}  // namespace pocket
