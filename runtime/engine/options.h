// What a caller chooses before the engine is built, and what may be changed between turns.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "runtime/kernels/plan.h"
#include "runtime/text/sampler.h"

namespace pocket {

enum class Phase : uint8_t { prefill, decode };

// Test hook: the barrier that the recorder leaves out, so that a test can show that the checker and
// the validation layer notice. Barrier 0 of a segment is the one that it begins with (between
// segments); barriers 1, 2, ... lie inside it. Empty label: nothing is left out.
struct OmittedBarrier {
  Phase phase = Phase::decode;
  std::string segment;  // label of the segment
  int32_t index = 0;
};

struct EngineOptions {
  int64_t context = 0;  // rows of the KV states; 0: the program's default
  int64_t chunk = 0;    // rows of a prefill chunk; 0: the program's default
  Accumulate accumulate = Accumulate::fp32;
  std::shared_ptr<const TunedConfigs> tuned;  // rows to prefer; null: the table's
  // Milliseconds that a submission may take where segments allow; 0: one submission a step. The
  // segments are timed at load, at the full context.
  double max_submit_ms = 0;
  int32_t queued_steps = 2;   // steps submitted ahead of the one that the host waits for, 1..8
  SamplerSettings sampling;   // kept in the step record
  bool verify_shards = true;  // hash every shard before its upload
  // Let the device read the weights where the file is mapped, without a copy, where it can.
  bool import_weights = true;
  // Notes and progress for the person, one sentence each (the memory sums, a lowered chunk).
  std::function<void(const std::string&)> message;
  uint64_t memory_limit = 0;  // bytes of device memory that may be planned; 0: what is available

  // For tests.
  OmittedBarrier omit;
  bool log_stream = false;  // keep what was submitted for Engine::take_stream()
  bool poison = false;      // fill activations and KV with NaN, so that a stray read shows
  // Fill an activation with NaN behind the last operator that needs it, in every step: shows a read
  // of memory that the plan has given away.
  bool poison_freed = false;
};

}  // namespace pocket
