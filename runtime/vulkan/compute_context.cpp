#include "runtime/vulkan/compute_context.h"

#include <algorithm>

#include "runtime/base/error.h"
#include "runtime/vulkan/timestamps.h"

namespace pocket {
namespace {

constexpr uint64_t kGuardBytes = 256;
constexpr std::byte kGuard{0xA5};

uint64_t in_words(uint64_t bytes) { return (bytes + 3) / 4 * 4; }

}  // namespace

ComputeContext::ComputeContext(Device& device)
    : device_(device), transfer_(device), pool_(device) {}

uint64_t ComputeContext::run(std::span<const std::span<std::byte>> buffers,
                             const ComputeDispatch& dispatch) {
  return run(buffers, std::span(&dispatch, 1));
}

uint64_t ComputeContext::run(std::span<const std::span<std::byte>> buffers,
                             std::span<const ComputeDispatch> dispatches) {
  const std::string label = dispatches.empty() ? "nothing" : dispatches.back().shader;
  const std::vector<std::byte> guard(kGuardBytes + 4, kGuard);
  std::vector<Buffer> on_device;
  for (const std::span<std::byte> bytes : buffers) {
    on_device.emplace_back(device_, in_words(bytes.size()) + kGuardBytes, MemoryKind::device_local,
                           MemoryUse::arena);
    transfer_.write(on_device.back(), 0, bytes);
    transfer_.write(on_device.back(), bytes.size(),
                    std::span(guard).first(in_words(bytes.size()) - bytes.size() + kGuardBytes));
  }

  uint32_t bindings = 0;
  for (const ComputeDispatch& dispatch : dispatches) {
    bindings += static_cast<uint32_t>(dispatch.bindings.size());
  }
  DescriptorPool descriptors(device_, static_cast<uint32_t>(dispatches.size()), bindings);
  Timestamps timestamps(device_, 2);
  CommandBuffer commands = pool_.allocate();
  commands.begin(true);
  timestamps.record_reset(commands);
  timestamps.record(commands, 0);
  for (const ComputeDispatch& dispatch : dispatches) {
    std::vector<BufferRange> ranges;
    for (const ComputeBinding& binding : dispatch.bindings) {
      const uint64_t end =
          binding.buffer < buffers.size() ? in_words(buffers[binding.buffer].size()) : 0;
      if (binding.offset >= end || binding.bytes > end - binding.offset) {
        throw Error(ExitCode::device, "the kernel \"" + dispatch.shader +
                                          "\" binds a range outside of buffer " +
                                          std::to_string(binding.buffer));
      }
      // Drivers that clamp accesses to the binding would hide a write behind the end, so that a
      // binding of the rest of a buffer reaches over the guard.
      const uint64_t rest =
          std::min(end - binding.offset + kGuardBytes, device_.limits().max_binding);
      ranges.push_back({on_device[binding.buffer].handle(), binding.offset,
                        binding.bytes ? binding.bytes : std::max(rest, end - binding.offset),
                        binding.texel_words});
    }
    const Pipeline& pipeline = device_.pipelines().get(
        {.shader = dispatch.shader,
         .specialization = dispatch.specialization,
         .bindings = binding_kinds(ranges),
         .push_constant_bytes = static_cast<uint32_t>(4 * dispatch.push_constants.size())},
        dispatch.code);
    commands.bind(pipeline, descriptors.allocate(pipeline.set_layout(), ranges));
    commands.push(pipeline, dispatch.push_constants);
    commands.dispatch(dispatch.groups);
    commands.barrier(scope::shader, scope::shader);
  }
  timestamps.record(commands, 1);
  commands.end();

  Fence fence(device_);
  const VkCommandBuffer handle = commands.handle();
  device_.queue().submit({.commands = {&handle, 1}, .label = label.c_str(), .fence = &fence});
  fence.wait();
  std::array<uint64_t, 2> times{};
  timestamps.read(times);
  pool_.free(commands);

  std::vector<std::byte> tail;
  for (size_t i = 0; i < buffers.size(); ++i) {
    transfer_.read(on_device[i], 0, buffers[i]);
    // Bytes that only fill the last word may change; those behind it may not.
    const uint64_t end = in_words(buffers[i].size());
    tail.resize(kGuardBytes);
    transfer_.read(on_device[i], end, tail);
    if (std::any_of(tail.begin(), tail.end(), [](std::byte b) { return b != kGuard; })) {
      throw Error(
          ExitCode::wrong_result,
          "the kernel \"" + label + "\" wrote behind the end of buffer " + std::to_string(i));
    }
  }
  return times[1];
}

}  // namespace pocket
