// One prompt length: warm-up, repetitions, per-token times. Times are the host's steady clock from
// the call to the delivered token: what a caller waits for.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "runtime/engine/session.h"

namespace pocket::bench {

struct Repetition {
  uint64_t first_token_ns = 0;     // prefill of the prompt until the first token is chosen
  std::vector<uint64_t> token_ns;  // between two delivered tokens: generated - 1 entries
  uint64_t decode_ns = 0;          // their sum: from the first delivered token to the last
  uint64_t decode_steps = 0;       // that ran, discarded ones included
  uint64_t host_work_ns = 0;       // of decoding, outside waiting
  uint64_t host_wait_ns = 0;       // of decoding, waiting for the device
  uint64_t submits = 0, dispatches = 0, barriers = 0;  // of decoding
  uint64_t plan_evaluations = 0;  // memory plans evaluated while it ran, prefill included
  uint64_t logits_hash = 0;       // of the last step
};

struct Measurement {
  int64_t prompt = 0, generated = 0;
  std::vector<Repetition> repetitions;  // without the warm-up
};

// `generate` is at least 2. Throws Error(wrong_result) when two repetitions end in different
// logits.
Measurement measure(Engine&, int64_t prompt, int64_t generate, int warmup, int repetitions,
                    const std::function<void(const std::string&)>& progress);

}  // namespace pocket::bench
