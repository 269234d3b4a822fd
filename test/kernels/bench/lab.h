// The kernel lab: one matrix kernel, shape and configuration alone on the device at hand. A
// configuration is timed only after it has computed what the host reference computes.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/kernels/config.h"
#include "runtime/kernels/plan.h"
#include "runtime/vulkan/device.h"

namespace pocket::lab {

struct Work {
  int64_t rows = 2048, columns = 2048, tokens = 1;  // weight rows, their length, activation rows
  Encoding encoding = Encoding::m0e4;
  int64_t group = 32;  // 4-bit encodings
  DType activations = DType::f32;
  bool gated = false;  // two matrices in one dispatch
  Accumulate accumulate = Accumulate::fp32;
};

struct Result {
  KernelConfig config;
  std::string shader;
  double error = 0;  // largest difference over the root mean square of the reference
  bool correct = false;
  std::string refused;                          // what the driver said, or empty
  double cpu_seconds = 0, wall_seconds = 0;     // of one dispatch, medians; 0: not timed
  uint64_t weight_bytes = 0, flops = 0;         // of one dispatch
};

// Rows that may be tried for the work: those of the table, whatever device they name, and with
// `sweep` a grid of tiles around them. Each set of numbers once, valid ones only.
std::vector<KernelConfig> candidates(const Work&, const DeviceLimits&, bool sweep);

// The row that the table chooses.
KernelConfig chosen(const Work&, const DeviceLimits&);

// Checks and times the configurations in turn: `repetitions` rounds over all that are correct, so
// that a change of the machine's load meets each of them.
std::vector<Result> measure(Device&, const Work&, const std::vector<KernelConfig>&,
                            int repetitions);

// Limits of the device, measured in the same run; 0: not measured.
struct Peaks {
  double read_bytes_per_second = 0, fp32_per_second = 0;
};
// By wall time: bytes of the weights, and operations; 0 where the peak was not measured.
struct Shares {
  double read = 0, fp32 = 0;
};
Shares shares(const Result&, const Peaks&);

std::string name(const Work&);
nlohmann::json to_json(const Device&, const Work&, const std::vector<Result>&, const Peaks&);

}  // namespace pocket::lab
