// The peaks that shares in reports refer to beside the copy bandwidth: read bandwidth (decode) and
// multiply-adds in fp32 (prefill), fp16 and int8. Measured by micro-kernels that prove their work:
// one that did not do it is Error(wrong_result).
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "runtime/bench/probes.h"
#include "runtime/vulkan/device.h"

namespace pocket::bench {

struct PeakProbe {
  double per_second = 0;  // bytes or operations; median of the repetitions of the best shape
  uint64_t work = 0;      // bytes or operations of one repetition
  int repetitions = 0;
  std::string shape;    // "local size 64, 4 chains": which of those tried was the best
  std::string skipped;  // why there is no number, or empty
};

enum class Arithmetic : uint8_t { fp32, fp16, int8_dot };

// Reads `bytes` (less where memory is short) with 16-byte loads.
PeakProbe probe_read(Device&, uint64_t bytes = 192ull << 20, int repetitions = 5);
// A multiply-add counts as two operations, a dot product of four bytes as eight. `least_seconds`:
// of one repetition, found by doubling.
PeakProbe probe_arithmetic(Device&, Arithmetic, double least_seconds = 0.03, int repetitions = 5);

struct Peaks {
  CopyProbe copy;
  PeakProbe read, fp32, fp16, int8_dot;
  DispatchProbe empty_dispatch;
};
enum class PeakChoice : uint8_t {
  all,         // llmbench devices --measure
  for_shares,  // copy, read, fp32 and empty dispatches, which is what shares of `run` need
};
Peaks measure_peaks(Device&, PeakChoice);

nlohmann::json to_json(const Peaks&);
std::string to_text(const Peaks&);  // a line each

}  // namespace pocket::bench
