#include "runtime/engine/recorder.h"

#include <algorithm>

#include "runtime/kernels/shader_registry.h"
#include "runtime/vulkan/pipeline.h"

namespace pocket {
namespace {

// What a barrier waits for: writes become available; reads need no more than the order.
Scope source_scope(StageMask stages) {
  Scope result;
  if ((stages & kStageCompute) != 0) result = result | scope::shader_write;
  if ((stages & kStageTransfer) != 0) result = result | scope::copy_write;
  return result;
}

Scope target_scope(StageMask stages) {
  Scope result;
  if ((stages & kStageCompute) != 0) result = result | scope::shader;
  if ((stages & kStageTransfer) != 0) result = result | scope::copy;
  if ((stages & kStageHost) != 0) result = result | scope::host_read;
  return result;
}

}  // namespace

Recorder::Recorder(Device& device, const EnginePlan& plan, const std::vector<Buffer>& buffers)
    : device_(device), plan_(plan), buffers_(buffers), commands_(device) {
  recorded_.resize(plan.segments.size());
}

bool Recorder::recorded(int32_t segment) const {
  return !recorded_[static_cast<size_t>(segment)].empty();
}

VkCommandBuffer Recorder::commands(int32_t segment, int32_t copy) const {
  return recorded_[static_cast<size_t>(segment)][static_cast<size_t>(copy)].handle();
}

void Recorder::record(std::span<const int32_t> segments) {
  uint32_t sets = 0, ranges = 0;
  for (const int32_t index : segments) {
    if (recorded(index)) continue;
    for (const auto& bindings : plan_.segments[static_cast<size_t>(index)].bindings) {
      ++sets;
      ranges += static_cast<uint32_t>(bindings.size());
    }
  }
  if (sets > 0) pools_.emplace_back(device_, sets, ranges);
  for (const int32_t index : segments) {
    if (recorded(index)) continue;
    const SegmentPlan& segment = plan_.segments[static_cast<size_t>(index)];
    std::vector<Bound> bound;
    if (!segment.dispatches.empty()) bound = bind(segment, pools_.back());
    std::vector<CommandBuffer> copies;
    for (int32_t copy = 0; copy < segment.copies; ++copy) {
      CommandBuffer buffer = commands_.allocate();
      buffer.begin();
      emit(segment, bound, buffer);
      buffer.end();
      copies.push_back(buffer);
    }
    recorded_[static_cast<size_t>(index)] = std::move(copies);
  }
}

std::vector<Recorder::Bound> Recorder::bind(const SegmentPlan& segment, DescriptorPool& pool) {
  std::vector<Bound> result;
  std::vector<BufferRange> ranges;
  for (size_t i = 0; i < segment.dispatches.size(); ++i) {
    const Dispatch& dispatch = segment.dispatches[i];
    ranges.clear();
    for (size_t b = 0; b < dispatch.operands.size(); ++b) {
      const Touch& touch = segment.bindings[i][b];
      ranges.push_back({buffers_[static_cast<size_t>(touch.buffer)].handle(), touch.begin,
                        touch.end - touch.begin, dispatch.operands[b].texel_words});
    }
    PipelineKey key;
    key.shader = dispatch.shader;
    key.specialization = dispatch.specialization;
    key.bindings = binding_kinds(ranges);
    key.push_constant_bytes = static_cast<uint32_t>(dispatch.push_constants.size() * 4);
    const Pipeline& pipeline = device_.pipelines().get(key, shader_code(dispatch.shader));
    result.push_back({&pipeline, pool.allocate(pipeline.set_layout(), ranges)});
  }
  return result;
}

void Recorder::emit(const SegmentPlan& segment, const std::vector<Bound>& bound,
                    CommandBuffer& commands) const {
  size_t next = 0;
  for (const StreamEvent& event : segment.stream) {
    if (event.kind == StreamEvent::Kind::barrier) {
      commands.barrier(source_scope(event.source), target_scope(event.target));
    } else if (event.stage == kStageTransfer && segment.role != SegmentRole::readback) {
      const Touch& freed = event.touches.front();
      commands.fill(buffers_[static_cast<size_t>(freed.buffer)], freed.begin,
                    freed.end - freed.begin, kPoison);
    } else if (event.stage == kStageTransfer) {
      const Touch &from = segment.copy_from, &to = segment.copy_to;
      commands.copy(buffers_[static_cast<size_t>(from.buffer)], from.begin,
                    buffers_[static_cast<size_t>(to.buffer)], to.begin, to.end - to.begin);
    } else {
      const Dispatch& dispatch = segment.dispatches[next];
      const Bound& b = bound[next++];
      commands.bind(*b.pipeline, b.set);
      if (!dispatch.push_constants.empty()) commands.push(*b.pipeline, dispatch.push_constants);
      commands.dispatch(dispatch.groups);
    }
  }
}

}  // namespace pocket
