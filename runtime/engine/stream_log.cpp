#include "runtime/engine/stream_log.h"

#include <utility>

namespace pocket {

void StreamLog::host(const char* label, Touch touch) {
  if (!on_) return;
  StreamEvent event;
  event.stage = kStageHost;
  event.label = label;
  event.touches = {touch};
  events_.push_back(std::move(event));
}

void StreamLog::submit(const SegmentList& segments, uint32_t step) {
  if (!on_) return;
  ++submissions_;
  StreamEvent edge;
  edge.kind = StreamEvent::Kind::submit;
  edge.label = "submit";
  events_.push_back(std::move(edge));
  const int32_t ring = plan_.buffer(BufferKind::ring);
  const uint64_t entry = uint64_t{step & (plan_.ring_size - 1)} * 4;
  for (const int32_t segment : segments) {
    for (StreamEvent event : plan_.segments[static_cast<size_t>(segment)].stream) {
      for (Touch& touch : event.touches) {
        if (touch.buffer == ring) touch = {ring, entry, entry + 4, touch.access};
      }
      events_.push_back(std::move(event));
    }
  }
}

void StreamLog::wait(int32_t submission) {
  if (!on_) return;
  StreamEvent event;
  event.kind = StreamEvent::Kind::wait;
  event.submission = submission;
  event.label = "wait";
  events_.push_back(std::move(event));
}

std::vector<StreamEvent> StreamLog::take() {
  submissions_ = 0;
  return std::exchange(events_, {});
}

}  // namespace pocket
