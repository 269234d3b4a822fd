#include "runtime/engine/resolve.h"

#include <string>

#include "runtime/base/error.h"

namespace pocket {
namespace {

// Where the thing that an operand names lies.
struct Place {
  int32_t buffer = kNone;
  uint64_t offset = 0;
  uint64_t bytes = 0;
};

uint64_t align_up(uint64_t value, uint64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

template <typename T>
const T* at(const std::vector<T>& list, int32_t index) {
  const auto i = static_cast<size_t>(index);
  return index < 0 || i >= list.size() ? nullptr : &list[i];
}

Place locate_tensor(const Manifest& manifest, const EnginePlan& plan, const SlotPlan& slot,
                    int32_t id) {
  const Tensor* tensor = at(manifest.program.tensors, id);
  if (tensor == nullptr) return {};
  if (tensor->role == TensorRole::state) {
    const int32_t buffer = plan.buffer(BufferKind::state, id);
    return {buffer, 0, plan.buffers[static_cast<size_t>(buffer)].bytes};
  }
  // A block's capacity is a multiple of the alignment, so a kernel may move whole words.
  const auto i = static_cast<size_t>(id);
  return {slot.arena, slot.memory.offset[i],
          align_up(slot.memory.bytes[i], MemoryPlan::kAlignment)};
}

Place locate_weight(const Manifest& manifest, const EnginePlan& plan, const Operand& operand) {
  const Weight* weight = at(manifest.weights, operand.id);
  if (weight == nullptr) return {};
  const Section* section = at(weight->sections, operand.section);
  if (section == nullptr) return {};
  return {plan.buffer(BufferKind::weights, section->shard), section->offset, section->bytes};
}

Place locate_whole(const EnginePlan& plan, int32_t buffer) {
  const BufferSpec* spec = at(plan.buffers, buffer);
  return spec == nullptr ? Place{} : Place{buffer, 0, spec->bytes};
}

}  // namespace

Touch Resolver::resolve(const Operand& wanted, const SlotPlan& slot) const {
  Operand operand = wanted;
  Place place;
  switch (operand.kind) {
    case Operand::Kind::tensor:
      place = locate_tensor(manifest_, plan_, slot, operand.id);
      break;
    case Operand::Kind::weight:
      place = locate_weight(manifest_, plan_, operand);
      break;
    case Operand::Kind::rope_table:
      place = locate_whole(plan_, plan_.buffer(BufferKind::rope, operand.id));
      break;
    case Operand::Kind::step_record:
      place = locate_whole(plan_, slot.record);
      break;
    case Operand::Kind::token_ids:
      place = locate_whole(plan_, plan_.buffer(BufferKind::token_ids));
      break;
    case Operand::Kind::ring:
      place = locate_whole(plan_, plan_.buffer(BufferKind::ring));
      if (operand.bytes == 0) operand.bytes = place.bytes;  // its size is chosen here
      break;
    case Operand::Kind::parameters:
      place = locate_whole(plan_, plan_.buffer(BufferKind::parameters));
      break;
    case Operand::Kind::scratch:
      place = locate_whole(plan_, slot.scratch);
      break;
  }
  if (place.buffer == kNone) throw Error(ExitCode::device, "names something that is not there");
  if (operand.bytes == 0 || operand.offset > place.bytes ||
      operand.bytes > place.bytes - operand.offset) {
    throw Error(ExitCode::device, "bytes " + std::to_string(operand.offset) + " + " +
                                      std::to_string(operand.bytes) + " leave its " +
                                      std::to_string(place.bytes) + " bytes");
  }
  if (operand.bytes > limits_.max_binding) {
    throw Error(ExitCode::device, std::to_string(operand.bytes) + " bytes exceed the limit of " +
                                      std::to_string(limits_.max_binding) + " bytes a binding");
  }
  const uint64_t begin = place.offset + operand.offset;
  if (begin % limits_.offset_alignment != 0) {
    throw Error(ExitCode::device, "offset " + std::to_string(begin) + " is no multiple of " +
                                      std::to_string(limits_.offset_alignment));
  }
  return {place.buffer, begin, begin + operand.bytes, operand.access};
}

std::vector<Touch> Resolver::resolve(const Dispatch& dispatch, Phase slot) const {
  std::vector<Touch> touches;
  touches.reserve(dispatch.operands.size());
  for (size_t i = 0; i < dispatch.operands.size(); ++i) {
    try {
      touches.push_back(resolve(dispatch.operands[i], plan_.slot(slot)));
    } catch (const Error& error) {
      throw Error(error.code, "Binding " + std::to_string(i) + " of " + dispatch.label + ": " +
                                  error.what() + ".");
    }
  }
  return touches;
}

}  // namespace pocket
