// An independent judge of recorded streams: replays commands over segments and submissions and
// reports every pair that touches the same bytes without an order between them. It shares no code
// with the inserter (hazards.h): it follows each access through the barriers after it, by stages,
// where the inserter only asks whether a barrier is due.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "runtime/engine/stream.h"

namespace pocket {

enum class HazardKind : uint8_t { read_after_write, write_after_read, write_after_write };
const char* hazard_kind_name(HazardKind);

struct Hazard {
  HazardKind kind = HazardKind::read_after_write;
  std::string earlier, later;  // labels
  int32_t buffer = 0;
  uint64_t begin = 0, end = 0;  // the bytes they share
};

// Hazards in the order of the later command; at most one per pair of commands and kind.
std::vector<Hazard> check_stream(std::span<const StreamEvent> stream);

}  // namespace pocket
