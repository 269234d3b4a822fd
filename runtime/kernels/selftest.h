// Proves on this device, in this run, that every kernel variant and configuration that a program
// uses computes what the host reference computes. No speed is reported without it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "runtime/kernels/plan.h"
#include "runtime/package/package.h"
#include "runtime/vulkan/device.h"

namespace pocket {

struct SelftestOptions {
  int64_t context = 0, chunk = 0;  // as the engine will run; 0: the program's default
  Accumulate accumulate = Accumulate::fp32;
  const TunedConfigs* tuned = nullptr;  // rows that the engine will prefer
  int repetitions = 3;  // of each entry, with other inputs: drivers fail now and then
  uint32_t seed = 1;
  std::function<void(Dispatch&)> plant;  // tests only: changes each dispatch before it runs
};

// One operator whose dispatches no earlier entry has tested.
struct SelftestEntry {
  std::string kernel;  // shader variants, joined by " + "
  std::string config;  // configuration row and its origin
  std::string label;   // operator that stands for all with the same dispatches
  std::string shape;   // "448 x 192, 64 tokens"
  int runs = 0;
  double error = 0;      // largest difference over the root mean square of the reference
  double tolerance = 0;  // sampler: 0, ids must be equal
  bool ok() const { return error <= tolerance; }
};

struct SelftestResult {
  std::vector<SelftestEntry> entries;
  bool passed() const;
  double worst_error() const;   // of all entries
  std::string failure() const;  // a sentence about the first failed entry; empty when passed
};

// Throws Error(device) when the program cannot be planned or run at all.
SelftestResult selftest(Device&, const Package&, const SelftestOptions&);

}  // namespace pocket
