// A recorded stream as data: what each command touches and what each barrier orders. The recorder
// writes Vulkan commands from it; the checker replays it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/kernels/plan.h"

namespace pocket {

using StageMask = uint8_t;
inline constexpr StageMask kStageHost = 1;
inline constexpr StageMask kStageCompute = 2;
inline constexpr StageMask kStageTransfer = 4;
inline constexpr StageMask kStageDevice = kStageCompute | kStageTransfer;

// Bytes [begin, end) of one buffer.
struct Touch {
  int32_t buffer = 0;
  uint64_t begin = 0, end = 0;
  Access access = Access::read;
};

struct StreamEvent {
  enum class Kind : uint8_t {
    work,     // dispatch, copy, or host access: `stage` touches `touches`
    barrier,  // all earlier work of `source` before all later work of `target`, memory included
    submit,   // begins a submission; makes earlier host writes visible to the device
    wait,     // the host has waited for the submissions before number `submission`
  };
  Kind kind = Kind::work;
  StageMask stage = kStageCompute;   // work: exactly one
  StageMask source = 0, target = 0;  // barrier
  int32_t submission = 0;            // wait
  std::string label;                 // what a report calls it
  std::vector<Touch> touches;
};

inline bool reads(Access a) { return (static_cast<uint8_t>(a) & 1) != 0; }
inline bool writes(Access a) { return (static_cast<uint8_t>(a) & 2) != 0; }

}  // namespace pocket
