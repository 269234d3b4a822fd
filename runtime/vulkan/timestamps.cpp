#include "runtime/vulkan/timestamps.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "runtime/vulkan/device.h"
#include "runtime/vulkan/result.h"

namespace pocket {

Timestamps::Timestamps(Device& device, uint32_t count)
    : device_(&device),
      count_(count),
      bits_(device.info().timestamp_bits),
      period_(static_cast<double>(device.info().timestamp_period)) {
  if (bits_ == 0 || count == 0) {
    bits_ = 0;
    return;
  }
  VkQueryPoolCreateInfo info{VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO};
  info.queryType = VK_QUERY_TYPE_TIMESTAMP;
  info.queryCount = count;
  check(device.table().vkCreateQueryPool(device.handle(), &info, nullptr, &handle_),
        "creating a timestamp pool");
}

Timestamps::Timestamps(Timestamps&& other) noexcept
    : device_(other.device_),
      handle_(std::exchange(other.handle_, VK_NULL_HANDLE)),
      count_(other.count_),
      bits_(other.bits_),
      period_(other.period_) {}

Timestamps::~Timestamps() {
  if (handle_) device_->table().vkDestroyQueryPool(device_->handle(), handle_, nullptr);
}

void Timestamps::record_reset(CommandBuffer& commands) {
  if (available()) device_->table().vkCmdResetQueryPool(commands.handle(), handle_, 0, count_);
}

void Timestamps::record(CommandBuffer& commands, uint32_t index) {
  if (!available()) return;
  device_->table().vkCmdWriteTimestamp(commands.handle(), VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT,
                                       handle_, index);
}

void Timestamps::read(std::span<uint64_t> nanoseconds) const {
  std::fill(nanoseconds.begin(), nanoseconds.end(), 0);
  if (!available() || nanoseconds.empty()) return;
  std::vector<uint64_t> ticks(nanoseconds.size());
  const VkResult result = device_->table().vkGetQueryPoolResults(
      device_->handle(), handle_, 0, static_cast<uint32_t>(ticks.size()), ticks.size() * 8,
      ticks.data(), 8, VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT);
  device_->queue().check_result(result, "reading timestamps");
  const uint64_t mask = bits_ >= 64 ? ~0ull : (1ull << bits_) - 1;
  for (size_t i = 0; i < ticks.size(); ++i) {
    // Subtraction under the mask is right even when the counter wrapped in between.
    const uint64_t elapsed = (ticks[i] - ticks[0]) & mask;
    nanoseconds[i] = static_cast<uint64_t>(static_cast<double>(elapsed) * period_);
  }
}

}  // namespace pocket
