#include "runtime/engine/control.h"

#include <cstring>

namespace pocket {

Control::Control(const EnginePlan& plan, const std::vector<Buffer>& buffers, StreamLog& log)
    : plan_(plan),
      buffers_(buffers),
      log_(log),
      token_ids_(plan.buffer(BufferKind::token_ids)),
      ring_(plan.buffer(BufferKind::ring)),
      readback_(plan.buffer(BufferKind::readback)) {}

void Control::write_record(Phase slot, const StepRecord& record) {
  const int32_t index = plan_.slot(slot).record;
  std::memcpy(buffer(index).mapped().data(), &record, sizeof record);
  buffer(index).flush(0, sizeof record);
  log_.host("host writes the step record", {index, 0, sizeof record, Access::write});
}

void Control::write_tokens(int64_t first, std::span<const int32_t> tokens) {
  if (tokens.empty()) return;
  const uint64_t offset = static_cast<uint64_t>(first) * 4;
  std::memcpy(buffer(token_ids_).mapped().data() + offset, tokens.data(), tokens.size_bytes());
  buffer(token_ids_).flush(offset, tokens.size_bytes());
  log_.host("host writes token ids",
            {token_ids_, offset, offset + tokens.size_bytes(), Access::write});
}

int32_t Control::token(uint32_t step) {
  const uint64_t offset = uint64_t{step & (plan_.ring_size - 1)} * 4;
  buffer(ring_).invalidate(offset, 4);
  log_.host("host reads the ring", {ring_, offset, offset + 4, Access::read});
  int32_t token = 0;
  std::memcpy(&token, buffer(ring_).mapped().data() + offset, 4);
  return token;
}

std::span<const float> Control::logits(uint64_t first, uint64_t count) {
  buffer(readback_).invalidate(first * 4, count * 4);
  log_.host("host reads logits", {readback_, first * 4, (first + count) * 4, Access::read});
  return {buffer(readback_).mapped_as<const float>() + first, count};
}

}  // namespace pocket
