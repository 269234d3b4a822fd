// What the device can do at best, measured in this run: the yardstick of every share in a report.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/vulkan/command.h"
#include "runtime/vulkan/device.h"
#include "runtime/vulkan/sync.h"

namespace pocket::bench {

struct CopyProbe {
  uint64_t bytes = 0;           // copied by one repetition; twice that crosses the memory
  double bytes_per_second = 0;  // read plus written; median of the repetitions
  int repetitions = 0;
  std::string skipped;  // why there is no number, or empty
};

// Copies 128 MiB to another 128 MiB and back, 256 MiB in all, in dispatches whose bindings respect
// the limits. Takes less where memory is short. Throws Error(wrong_result) when the copy is not
// equal to its source.
CopyProbe probe_copy(Device&, uint64_t half_bytes = 128ull << 20, int repetitions = 5);

// Seconds of one submission by the host's clock, which includes what a caller pays for it.
double timed_submission(Device&, const CommandBuffer&, Fence&, const char* label);

struct DispatchProbe {
  double nanoseconds = 0;  // of an empty dispatch and the barrier behind it; median
  int dispatches = 0;      // in one submission
};
DispatchProbe probe_empty_dispatch(Device&, int dispatches = 500, int repetitions = 5);

}  // namespace pocket::bench
