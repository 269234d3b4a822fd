// Keeps what the engine submitted and touched, for the checker; does nothing unless switched on.
#pragma once

#include <string>
#include <vector>

#include "runtime/engine/engine_plan.h"
#include "runtime/engine/submission.h"

namespace pocket {

class StreamLog {
 public:
  StreamLog(const EnginePlan& plan, bool on) : plan_(plan), on_(on) {}

  void host(const char* label, Touch touch);
  // `step`: number of the token that a sampler in it writes: its declared range, the whole ring, is
  // narrowed to that entry, since the host reads other entries while it runs.
  void submit(const SegmentList& segments, uint32_t step);
  int32_t submissions() const { return submissions_; }
  void wait(int32_t submission);  // the submissions before this number have finished

  // Only while nothing is pending: numbers begin again.
  std::vector<StreamEvent> take();

 private:
  const EnginePlan& plan_;
  bool on_;
  int32_t submissions_ = 0;
  std::vector<StreamEvent> events_;
};

}  // namespace pocket
