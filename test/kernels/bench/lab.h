// The kernel lab: one kernel, shape and configuration alone on the device at hand. A configuration
// is timed only after it has computed what the host reference computes.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/vulkan/device.h"
#include "test/kernels/bench/work.h"

namespace pocket::lab {

struct Result {
  KernelConfig config;
  std::string shader;
  double error = 0;  // largest difference over the root mean square of the reference
  bool correct = false;
  std::string refused;                          // what the driver said, or empty
  double cpu_seconds = 0, wall_seconds = 0;     // of one dispatch, medians; 0: not timed
  uint64_t bytes = 0, flops = 0;                // of one pass: Program::bytes, Program::flops
};

// Rows that may be tried for the work: those of the table, whatever device they name, and with
// `sweep` a grid of tiles around them. Each set of numbers once, valid ones only.
std::vector<KernelConfig> candidates(const Work&, const DeviceLimits&, bool sweep);

// The row that the table chooses.
KernelConfig chosen(const Work&, const DeviceLimits&);

struct Job {
  Work work;
  std::vector<KernelConfig> configs;
};
// Checks the configurations of all jobs, then times them in turn: `repetitions` rounds over all that
// are correct, so that a change of the machine's load meets each of them. Results job by job.
std::vector<std::vector<Result>> measure(Device&, const std::vector<Job>&, int repetitions);

// Limits of the device, measured in the same run; 0: not measured.
struct Peaks {
  double read_bytes_per_second = 0, fp32_per_second = 0;
};
// By wall time: bytes and operations; 0 where the peak was not measured.
struct Shares {
  double read = 0, fp32 = 0;
};
Shares shares(const Result&, const Peaks&);

nlohmann::json to_json(const Device&, const Work&, const std::vector<Result>&, const Peaks&);

}  // namespace pocket::lab
