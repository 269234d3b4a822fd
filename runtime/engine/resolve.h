// Operands of a planned dispatch -> byte ranges of the engine's buffers.
#pragma once

#include <vector>

#include "runtime/engine/engine_plan.h"

namespace pocket {

class Resolver {
 public:
  Resolver(const Manifest& manifest, const DeviceLimits& limits, const EnginePlan& plan)
      : manifest_(manifest), limits_(limits), plan_(plan) {}

  // One touch per binding. Throws Error(device) with the dispatch's label when a range leaves its
  // buffer, is misaligned, or exceeds what one binding may hold.
  std::vector<Touch> resolve(const Dispatch&, Phase slot) const;

 private:
  Touch resolve(const Operand&, const SlotPlan&) const;
  const Manifest& manifest_;
  const DeviceLimits& limits_;
  const EnginePlan& plan_;
};

}  // namespace pocket
