// What host and device share: step records and token ids (host writes, only while nothing is
// pending), the ring of chosen tokens and the logits read back (host reads).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/engine/engine_plan.h"
#include "runtime/engine/stream_log.h"
#include "runtime/vulkan/buffer.h"

namespace pocket {

class Control {
 public:
  Control(const EnginePlan&, const std::vector<Buffer>&, StreamLog&);

  void write_record(Phase slot, const StepRecord&);
  void write_tokens(int64_t first, std::span<const int32_t> tokens);
  // The token that step number `step` chose, after that step finished.
  int32_t token(uint32_t step);
  // `count` floats of the last logits readback from float `first` on; valid until the next one.
  std::span<const float> logits(uint64_t first, uint64_t count);

 private:
  const Buffer& buffer(int32_t index) const { return buffers_[static_cast<size_t>(index)]; }
  const EnginePlan& plan_;
  const std::vector<Buffer>& buffers_;
  StreamLog& log_;
  int32_t token_ids_, ring_, readback_;
};

}  // namespace pocket
