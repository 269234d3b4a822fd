// Which segments go into which vkQueueSubmit: pure policy over what is recorded. A policy cuts or
// re-orders; it re-records nothing.
#pragma once

#include <vector>

#include "runtime/engine/engine_plan.h"

namespace pocket {

using SegmentList = std::vector<int32_t>;  // indices of EnginePlan::segments

class SubmissionPolicy {
 public:
  virtual ~SubmissionPolicy() = default;
  // `step`: the segments of one decode step or one chunk in the order of the program. Returns the
  // submissions in order; together they hold every segment once.
  virtual std::vector<SegmentList> arrange(const EnginePlan&, const SegmentList& step) const = 0;
};

// One submission a step.
class InOrder final : public SubmissionPolicy {
 public:
  std::vector<SegmentList> arrange(const EnginePlan&, const SegmentList& step) const override {
    return {step};
  }
};

}  // namespace pocket
