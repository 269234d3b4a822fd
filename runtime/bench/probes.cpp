#include "runtime/bench/probes.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "runtime/base/error.h"
#include "runtime/bench/statistics.h"
#include "runtime/kernels/shader_registry.h"
#include "runtime/vulkan/command.h"
#include "runtime/vulkan/descriptor.h"
#include "runtime/vulkan/memory.h"
#include "runtime/vulkan/pipeline.h"
#include "runtime/vulkan/sync.h"
#include "runtime/vulkan/transfer.h"

namespace pocket::bench {
namespace {

constexpr uint32_t kLocalSize = 128;  // legal on every device
constexpr uint32_t kMostGroups = 2048;
constexpr uint64_t kLeastBytes = 4ull << 20;  // below this a copy measures the dispatch

struct CopyBuffers {
  Buffer a, b;
};

// Half of what was asked for until the device has it.
CopyBuffers allocate(Device& device, uint64_t& bytes) {
  while (true) {
    try {
      CopyBuffers buffers;
      buffers.a = Buffer(device, bytes, MemoryKind::device_local, MemoryUse::arena);
      buffers.b = Buffer(device, bytes, MemoryKind::device_local, MemoryUse::arena);
      return buffers;
    } catch (const Error& error) {
      if (error.code != ExitCode::out_of_memory || bytes / 2 < kLeastBytes) throw;
      bytes /= 2;
    }
  }
}

void check_copy(Device& device, const Buffer& to, uint64_t bytes, uint32_t expected) {
  Transfer transfer(device, 1 << 20);
  std::vector<uint32_t> words(1 << 18);
  for (uint64_t at = 0; at < bytes; at += words.size() * 4) {
    const auto part = static_cast<size_t>(std::min<uint64_t>(words.size() * 4, bytes - at) / 4);
    transfer.read(to, at, std::as_writable_bytes(std::span(words).first(part)));
    const auto bad = std::find_if(words.begin(), words.begin() + static_cast<ptrdiff_t>(part),
                                  [&](uint32_t word) { return word != expected; });
    if (bad != words.begin() + static_cast<ptrdiff_t>(part)) {
      throw Error(ExitCode::wrong_result,
                  "the copy probe left byte " +
                      std::to_string(at + 4 * static_cast<uint64_t>(bad - words.begin())) +
                      " uncopied, so no bandwidth of this device can be told");
    }
  }
}

}  // namespace

double timed_submission(Device& device, const CommandBuffer& commands, Fence& fence,
                        const char* label) {
  const VkCommandBuffer handle = commands.handle();
  fence.reset();
  const auto start = std::chrono::steady_clock::now();
  device.queue().submit({.commands = {&handle, 1}, .label = label, .fence = &fence});
  fence.wait();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

CopyProbe probe_copy(Device& device, uint64_t half_bytes, int repetitions) {
  CopyProbe probe;
  CopyBuffers buffers;
  uint64_t bytes = half_bytes / 256 * 256;
  try {
    buffers = allocate(device, bytes);
  } catch (const Error& error) {
    if (error.code != ExitCode::out_of_memory) throw;
    probe.skipped = error.what();
    return probe;
  }
  // Ranges begin at multiples of the strictest alignment, 256 bytes.
  const uint64_t range = std::min(bytes, device.limits().max_binding / 256 * 256);
  const Pipeline& pipeline = device.pipelines().get({.shader = "probe_copy",
                                                     .specialization = {kLocalSize},
                                                     .bindings = {2, 0},
                                                     .push_constant_bytes = 4},
                                                    shader_code("probe_copy"));
  const auto ranges = static_cast<uint32_t>((bytes + range - 1) / range);
  DescriptorPool descriptors(device, 2 * ranges, 4 * ranges);
  CommandPool pool(device);
  CommandBuffer commands = pool.allocate();
  commands.begin();
  for (const bool back : {false, true}) {
    const Buffer& from = back ? buffers.b : buffers.a;
    const Buffer& to = back ? buffers.a : buffers.b;
    commands.barrier(scope::shader | scope::copy, scope::shader);
    for (uint64_t at = 0; at < bytes; at += range) {
      const uint64_t part = std::min(range, bytes - at);
      const std::array both = {BufferRange{from.handle(), at, part},
                               BufferRange{to.handle(), at, part}};
      commands.bind(pipeline, descriptors.allocate(pipeline.set_layout(), both));
      const uint32_t push[] = {static_cast<uint32_t>(part / 16)};
      commands.push(pipeline, push);
      const uint32_t groups = (push[0] + kLocalSize - 1) / kLocalSize;
      commands.dispatch({std::min(groups, kMostGroups), 1, 1});
    }
  }
  commands.end();

  constexpr uint32_t kPattern = 0x3C003C01;
  Transfer transfer(device, 1 << 20);
  transfer.fill(buffers.a, 0, bytes, kPattern);
  transfer.fill(buffers.b, 0, bytes, 0);
  Fence fence(device);
  timed_submission(device, commands, fence, "copy probe");  // warms caches and compiles
  check_copy(device, buffers.b, bytes, kPattern);
  std::vector<double> rates;
  for (int i = 0; i < repetitions; ++i) {
    const double seconds = timed_submission(device, commands, fence, "copy probe");
    rates.push_back(4 * static_cast<double>(bytes) / seconds);
  }
  probe.bytes = 2 * bytes;
  probe.bytes_per_second = median(rates);
  probe.repetitions = repetitions;
  return probe;
}

DispatchProbe probe_empty_dispatch(Device& device, int dispatches, int repetitions) {
  const Pipeline& pipeline = device.pipelines().get(
      {.shader = "probe_empty", .specialization = {kLocalSize}}, shader_code("probe_empty"));
  DescriptorPool descriptors(device, 1, 1);
  const VkDescriptorSet set = descriptors.allocate(pipeline.set_layout(), {});
  CommandPool pool(device);
  CommandBuffer commands = pool.allocate();
  commands.begin();
  commands.bind(pipeline, set);
  for (int i = 0; i < dispatches; ++i) {
    commands.dispatch({1, 1, 1});
    commands.barrier(scope::shader, scope::shader);
  }
  commands.end();
  Fence fence(device);
  timed_submission(device, commands, fence, "empty dispatches");
  std::vector<double> times;
  for (int i = 0; i < repetitions; ++i) {
    times.push_back(timed_submission(device, commands, fence, "empty dispatches") * 1e9 / dispatches);
  }
  return {median(times), dispatches};
}

}  // namespace pocket::bench
