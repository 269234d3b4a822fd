// Counters and host times of the engine. Nothing here is estimated by the engine: counts are of
// calls made, times are of the steady clock, bytes and flops are the planner's model.
#pragma once

#include <cstdint>

namespace pocket {

// Of one phase since the engine was built or clear_statistics().
struct PhaseStatistics {
  uint64_t tokens = 0;      // prefill: tokens evaluated; decode: steps run, discarded ones included
  uint64_t submits = 0;     // vkQueueSubmit
  uint64_t dispatches = 0;  // vkCmdDispatch in what was submitted
  uint64_t barriers = 0;    // vkCmdPipelineBarrier in what was submitted
  uint64_t work_ns = 0;     // host time outside waiting and outside the caller's callback
  uint64_t wait_ns = 0;     // host time waiting for the device
};

struct Statistics {
  PhaseStatistics prefill, decode, score;
  uint64_t discarded_steps = 0;  // decode steps thrown away after a stop
};

// One submission, from the declared model of its dispatches (padding included).
struct StepCost {
  uint32_t dispatches = 0, barriers = 0, segments = 0;
  uint64_t bytes_read = 0, bytes_written = 0, flops = 0;
};

}  // namespace pocket
