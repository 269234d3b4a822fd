#include "runtime/vulkan/queue.h"

#include <cstdio>
#include <string>

#include "runtime/base/error.h"
#include "runtime/vulkan/device.h"
#include "runtime/vulkan/result.h"
#include "runtime/vulkan/sync.h"

namespace pocket {

Queue::Queue(Device& device, VkQueue handle) : device_(device), handle_(handle) {}

void Queue::submit(const Submission& submission) {
  std::snprintf(last_label_, sizeof(last_label_), "%s", submission.label);
  VkSemaphore wait = VK_NULL_HANDLE, signal = VK_NULL_HANDLE;
  const VkPipelineStageFlags wait_stages =
      VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT;
  VkTimelineSemaphoreSubmitInfo timeline{VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO};
  VkSubmitInfo info{VK_STRUCTURE_TYPE_SUBMIT_INFO};
  info.commandBufferCount = static_cast<uint32_t>(submission.commands.size());
  info.pCommandBuffers = submission.commands.data();
  if (submission.wait.semaphore) {
    wait = submission.wait.semaphore->handle();
    info.waitSemaphoreCount = 1;
    info.pWaitSemaphores = &wait;
    info.pWaitDstStageMask = &wait_stages;
    timeline.waitSemaphoreValueCount = 1;
    timeline.pWaitSemaphoreValues = &submission.wait.value;
    info.pNext = &timeline;
  }
  if (submission.signal.semaphore) {
    signal = submission.signal.semaphore->handle();
    info.signalSemaphoreCount = 1;
    info.pSignalSemaphores = &signal;
    timeline.signalSemaphoreValueCount = 1;
    timeline.pSignalSemaphoreValues = &submission.signal.value;
    info.pNext = &timeline;
  }
  const VkFence fence = submission.fence ? submission.fence->handle() : VK_NULL_HANDLE;
  check_result(device_.table().vkQueueSubmit(handle_, 1, &info, fence), "submitting work");
}

void Queue::wait_idle() {
  check_result(device_.table().vkQueueWaitIdle(handle_), "waiting for the device");
}

void Queue::check_result(VkResult result, const char* what) const {
  if (result != VK_ERROR_DEVICE_LOST) {
    check(result, what);
    return;
  }
  throw Error(ExitCode::device, std::string(what) + " failed: " + result_text(result) +
                                    "; the last submitted segment was \"" + last_label_ +
                                    "\", so try a smaller --chunk");
}

}  // namespace pocket
