#include "runtime/engine/checker.h"

#include <algorithm>
#include <map>

namespace pocket {
namespace {

// One access that later ones may still collide with.
struct Past {
  uint64_t begin = 0, end = 0;
  bool writes = false;
  StageMask stage = 0;
  StageMask reaches = 0;  // stages that barriers (chains included) have put after it
  int32_t submission = 0;
  size_t command = 0;
  const std::string* label = nullptr;
};

class Replay {
 public:
  std::vector<Hazard> run(std::span<const StreamEvent> stream) {
    for (size_t i = 0; i < stream.size(); ++i) step(stream[i], i);
    return std::move(hazards_);
  }

 private:
  void step(const StreamEvent& event, size_t index) {
    switch (event.kind) {
      case StreamEvent::Kind::work:
        work(event, index);
        break;
      case StreamEvent::Kind::barrier:
        order(event.source, event.target);
        break;
      case StreamEvent::Kind::submit:
        ++submission_;
        order(kStageHost, kStageDevice);
        break;
      case StreamEvent::Kind::wait:
        waited_ = std::max(waited_, event.submission);
        break;
    }
  }

  // Everything that runs in a stage of `source`, or was put before one, is now before `target`.
  void order(StageMask source, StageMask target) {
    for (auto& [buffer, list] : past_) {
      for (Past& p : list) {
        if (((p.stage | p.reaches) & source) != 0) {
          p.reaches = static_cast<StageMask>(p.reaches | target);
        }
      }
    }
  }

  bool ordered(const Past& p, const StreamEvent& now, bool now_reads) const {
    if (now.stage != kStageHost) return (p.reaches & now.stage) != 0;
    if (p.stage == kStageHost) return true;  // one host thread
    // The host may go on only when that submission has finished; to read what the device wrote it
    // also needs the barrier that makes it visible.
    if (p.submission >= waited_) return false;
    return !(p.writes && now_reads) || (p.reaches & kStageHost) != 0;
  }

  void work(const StreamEvent& event, size_t index) {
    for (const Touch& touch : event.touches) compare(event, touch, index);
    for (const Touch& touch : event.touches) remember(event, touch, index);
  }

  void compare(const StreamEvent& event, const Touch& touch, size_t index) {
    for (const Past& p : past_[touch.buffer]) {
      if (p.command == index || p.end <= touch.begin || touch.end <= p.begin) continue;
      const uint64_t begin = std::max(p.begin, touch.begin), end = std::min(p.end, touch.end);
      auto report = [&](HazardKind kind) {
        const bool known = std::any_of(hazards_.begin(), hazards_.end(), [&](const Hazard& h) {
          return h.kind == kind && h.earlier == *p.label && h.later == event.label &&
                 h.buffer == touch.buffer;
        });
        if (!known) {
          hazards_.push_back({kind, *p.label, event.label, touch.buffer, begin, end});
        }
      };
      if (reads(touch.access) && p.writes && !ordered(p, event, true)) {
        report(HazardKind::read_after_write);
      }
      if (writes(touch.access) && !ordered(p, event, false)) {
        report(p.writes ? HazardKind::write_after_write : HazardKind::write_after_read);
      }
    }
  }

  void remember(const StreamEvent& event, const Touch& touch, size_t index) {
    std::vector<Past>& list = past_[touch.buffer];
    // A write hides what lies wholly under it: later accesses are ordered against the write. A
    // read hides the same stage's earlier reads of the same bytes, whose order is no weaker.
    std::erase_if(list, [&](const Past& p) {
      if (p.command == index || p.begin < touch.begin || p.end > touch.end) return false;
      return writes(touch.access) || (!p.writes && p.stage == event.stage);
    });
    auto add = [&](bool is_write) {
      list.push_back(
          {touch.begin, touch.end, is_write, event.stage, 0, submission_ - 1, index, &event.label});
    };
    if (reads(touch.access)) add(false);
    if (writes(touch.access)) add(true);
  }

  std::map<int32_t, std::vector<Past>> past_;
  std::vector<Hazard> hazards_;
  int32_t submission_ = 0;  // submissions so far; the current one is submission_ - 1
  int32_t waited_ = 0;      // submissions 0 .. waited_-1 have finished
};

}  // namespace

const char* hazard_kind_name(HazardKind kind) {
  switch (kind) {
    case HazardKind::read_after_write:
      return "read after write";
    case HazardKind::write_after_read:
      return "write after read";
    case HazardKind::write_after_write:
      return "write after write";
  }
  return "?";
}

std::vector<Hazard> check_stream(std::span<const StreamEvent> stream) {
  return Replay().run(stream);
}

}  // namespace pocket
