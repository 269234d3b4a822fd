// Where barriers are needed. A segment is a run of dispatches and copies in order; it begins with a
// barrier for everything before it, and inside it a barrier stands only before a command that
// reads, overwrites or re-uses what an unsynchronised earlier one wrote or read (read-after-write,
// write-after-read, write-after-write; arena re-use makes the last two). One global memory barrier
// orders everything before it, so placing it as late as possible gives the fewest.
#pragma once

#include <vector>

#include "runtime/engine/stream.h"

namespace pocket {

// `work` holds events of kind work on device stages. Returns them with barriers in between, the
// beginning one first. `host_reads`: ends with a barrier that makes the segment's writes visible to
// the host.
std::vector<StreamEvent> insert_barriers(std::vector<StreamEvent> work, bool host_reads);

}  // namespace pocket
