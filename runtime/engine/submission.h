// Which segments go into which vkQueueSubmit: pure policy over what is recorded. A policy cuts or
// re-orders; it re-records nothing.
#pragma once

#include <utility>
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

// Consecutive segments as long as the sum of their measured times stays within the limit, so that
// the display gets its turn and no watchdog fires. A segment that alone exceeds the limit, or whose
// time nobody measured, is a submission of its own.
class TimeSplit final : public SubmissionPolicy {
 public:
  // `segment_ns`: by segment of the plan, 0 where it was not measured.
  TimeSplit(double most_ns, std::vector<double> segment_ns)
      : most_ns_(most_ns), segment_ns_(std::move(segment_ns)) {}
  std::vector<SegmentList> arrange(const EnginePlan&, const SegmentList& step) const override;
  double nanoseconds(const SegmentList& submission) const;  // sum of what was measured

 private:
  double most_ns_;
  std::vector<double> segment_ns_;
};

}  // namespace pocket
