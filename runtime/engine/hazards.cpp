#include "runtime/engine/hazards.h"

#include <algorithm>
#include <utility>

namespace pocket {
namespace {

bool overlap(const Touch& a, const Touch& b) {
  return a.buffer == b.buffer && a.begin < b.end && b.begin < a.end;
}

// What was touched since the last barrier.
class Unsynchronised {
 public:
  bool conflicts(const std::vector<Touch>& next) const {
    return std::any_of(next.begin(), next.end(), [&](const Touch& touch) {
      return std::any_of(touches_.begin(), touches_.end(), [&](const Touch& earlier) {
        return overlap(earlier, touch) && (writes(earlier.access) || writes(touch.access));
      });
    });
  }
  void add(const StreamEvent& work) {
    touches_.insert(touches_.end(), work.touches.begin(), work.touches.end());
    stages_ = static_cast<StageMask>(stages_ | work.stage);
  }
  void clear() {
    touches_.clear();
    stages_ = 0;
  }
  StageMask stages() const { return stages_; }

 private:
  std::vector<Touch> touches_;
  StageMask stages_ = 0;
};

StreamEvent barrier(StageMask source, StageMask target) {
  StreamEvent event;
  event.kind = StreamEvent::Kind::barrier;
  event.source = source;
  event.target = target;
  event.label = "barrier";
  return event;
}

}  // namespace

std::vector<StreamEvent> insert_barriers(std::vector<StreamEvent> work, bool host_reads) {
  StageMask used = 0;
  for (const StreamEvent& event : work) used = static_cast<StageMask>(used | event.stage);
  std::vector<StreamEvent> stream;
  stream.reserve(work.size() * 2);
  // Earlier segments may have used any stage; everything in this one comes after them.
  stream.push_back(barrier(kStageDevice, used));
  Unsynchronised pending;
  for (StreamEvent& event : work) {
    if (pending.conflicts(event.touches)) {
      // The target is every stage of the segment, not only this command's: later commands are not
      // compared with what was before this barrier.
      stream.push_back(barrier(pending.stages(), used));
      pending.clear();
    }
    pending.add(event);
    stream.push_back(std::move(event));
  }
  if (host_reads) stream.push_back(barrier(used, kStageHost));
  return stream;
}

}  // namespace pocket
