#include "runtime/vulkan/sync.h"

#include <limits>
#include <utility>

#include "runtime/base/error.h"
#include "runtime/vulkan/device.h"
#include "runtime/vulkan/result.h"

namespace pocket {
namespace {
constexpr uint64_t kForever = std::numeric_limits<uint64_t>::max();
}

Fence::Fence(Device& device, bool signaled) : device_(&device) {
  VkFenceCreateInfo info{VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
  if (signaled) info.flags = VK_FENCE_CREATE_SIGNALED_BIT;
  check(device.table().vkCreateFence(device.handle(), &info, nullptr, &handle_),
        "creating a fence");
}

Fence::Fence(Fence&& other) noexcept
    : device_(other.device_), handle_(std::exchange(other.handle_, VK_NULL_HANDLE)) {}

Fence::~Fence() {
  if (handle_) device_->table().vkDestroyFence(device_->handle(), handle_, nullptr);
}

bool Fence::signaled() const {
  const VkResult result = device_->table().vkGetFenceStatus(device_->handle(), handle_);
  if (result == VK_NOT_READY) return false;
  device_->queue().check_result(result, "asking for the state of a fence");
  return true;
}

void Fence::wait() const {
  device_->queue().check_result(
      device_->table().vkWaitForFences(device_->handle(), 1, &handle_, VK_TRUE, kForever),
      "waiting for the device");
}

void Fence::reset() {
  check(device_->table().vkResetFences(device_->handle(), 1, &handle_), "resetting a fence");
}

TimelineSemaphore::TimelineSemaphore(Device& device, uint64_t initial) : device_(&device) {
  if (!device.has_timeline_semaphore()) {
    throw Error(ExitCode::device, "the device \"" + device.info().name +
                                      "\" has no timeline semaphores; use a fence");
  }
  VkSemaphoreTypeCreateInfo type{VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO};
  type.semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE;
  type.initialValue = initial;
  VkSemaphoreCreateInfo info{VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO};
  info.pNext = &type;
  check(device.table().vkCreateSemaphore(device.handle(), &info, nullptr, &handle_),
        "creating a timeline semaphore");
}

TimelineSemaphore::TimelineSemaphore(TimelineSemaphore&& other) noexcept
    : device_(other.device_), handle_(std::exchange(other.handle_, VK_NULL_HANDLE)) {}

TimelineSemaphore::~TimelineSemaphore() {
  if (handle_) device_->table().vkDestroySemaphore(device_->handle(), handle_, nullptr);
}

uint64_t TimelineSemaphore::value() const {
  uint64_t value = 0;
  device_->queue().check_result(
      device_->table().vkGetSemaphoreCounterValue(device_->handle(), handle_, &value),
      "reading a timeline semaphore");
  return value;
}

void TimelineSemaphore::wait(uint64_t value) const {
  VkSemaphoreWaitInfo info{VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO};
  info.semaphoreCount = 1;
  info.pSemaphores = &handle_;
  info.pValues = &value;
  device_->queue().check_result(
      device_->table().vkWaitSemaphores(device_->handle(), &info, kForever),
      "waiting for the device");
}

void TimelineSemaphore::signal(uint64_t value) {
  VkSemaphoreSignalInfo info{VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO};
  info.semaphore = handle_;
  info.value = value;
  check(device_->table().vkSignalSemaphore(device_->handle(), &info),
        "signalling a timeline semaphore");
}

}  // namespace pocket
