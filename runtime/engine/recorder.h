// Planned segments -> primary command buffers, recorded once and replayed.
#pragma once

#include <span>
#include <vector>

#include "runtime/engine/engine_plan.h"
#include "runtime/vulkan/buffer.h"
#include "runtime/vulkan/command.h"
#include "runtime/vulkan/descriptor.h"
#include "runtime/vulkan/device.h"

namespace pocket {

class Recorder {
 public:
  // `buffers` is parallel to plan.buffers; all three must outlive the recorder.
  Recorder(Device&, const EnginePlan& plan, const std::vector<Buffer>& buffers);

  // Creates pipelines and descriptor sets of the segments that are not recorded yet and records
  // every copy of them. Throws Error(device).
  void record(std::span<const int32_t> segments);

  bool recorded(int32_t segment) const;
  VkCommandBuffer commands(int32_t segment, int32_t copy) const;

 private:
  struct Bound {  // one dispatch, ready to be recorded into every copy
    const Pipeline* pipeline = nullptr;
    VkDescriptorSet set = VK_NULL_HANDLE;
  };
  std::vector<Bound> bind(const SegmentPlan&, DescriptorPool&);
  void emit(const SegmentPlan&, const std::vector<Bound>&, CommandBuffer&) const;

  Device& device_;
  const EnginePlan& plan_;
  const std::vector<Buffer>& buffers_;
  CommandPool commands_;
  std::vector<DescriptorPool> pools_;
  std::vector<std::vector<CommandBuffer>> recorded_;  // by segment, by copy
};

}  // namespace pocket
