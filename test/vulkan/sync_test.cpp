#include "runtime/vulkan/sync.h"

#include <cstdlib>
#include <new>

#include "runtime/vulkan/command.h"
#include "runtime/vulkan/timestamps.h"
#include "test/support/catch.h"
#include "test/vulkan/fixture.h"

namespace pocket::test {
namespace {

VKAPI_ATTR VkResult VKAPI_CALL lose_device(VkQueue, uint32_t, const VkSubmitInfo*, VkFence) {
  return VK_ERROR_DEVICE_LOST;
}
VKAPI_ATTR VkResult VKAPI_CALL lose_in_wait(VkDevice, uint32_t, const VkFence*, VkBool32,
                                            uint64_t) {
  return VK_ERROR_DEVICE_LOST;
}

}  // namespace

TEST_CASE("fences follow submissions") {
  Device& device = shared_device();
  CommandPool pool(device);
  CommandBuffer commands = pool.allocate();
  Buffer buffer(device, 1024, MemoryKind::readback, MemoryUse::staging);
  commands.begin();
  commands.fill(buffer, 0, 1024, 0x01020304);
  commands.barrier(scope::copy_write, scope::host_read);
  commands.end();
  Fence fence(device);
  CHECK_FALSE(fence.signaled());
  const VkCommandBuffer handle = commands.handle();
  for (int i = 0; i < 3; ++i) {
    buffer.mapped_as<uint32_t>()[255] = 0;
    buffer.flush(0, 1024);
    device.queue().submit({.commands = {&handle, 1}, .label = "fill", .fence = &fence});
    fence.wait();
    CHECK(fence.signaled());
    buffer.invalidate(0, 1024);
    CHECK(buffer.mapped_as<uint32_t>()[255] == 0x01020304);
    fence.reset();
  }
  CHECK(device.queue().last_label() == std::string("fill"));
}

TEST_CASE("timeline semaphores order submissions and tell their value") {
  Device& device = shared_device();
  if (!device.has_timeline_semaphore()) SKIP("this device has no timeline semaphores");
  TimelineSemaphore semaphore(device, 3);
  CHECK(semaphore.value() == 3);
  device.queue().submit({.label = "one", .signal = {&semaphore, 4}});
  device.queue().submit({.label = "two", .wait = {&semaphore, 4}, .signal = {&semaphore, 9}});
  semaphore.wait(9);
  CHECK(semaphore.value() == 9);
  semaphore.signal(12);
  semaphore.wait(12);
  CHECK(semaphore.value() == 12);
  device.queue().wait_idle();
}

TEST_CASE("a lost device is reported with the last submitted segment") {
  Device device(shared_instance(), no_cache());
  const PFN_vkQueueSubmit submit = device.table().vkQueueSubmit;
  Fence fence(device);
  device.table().vkQueueSubmit = lose_device;
  const Error at_submit =
      error_of([&] { device.queue().submit({.label = "layers.3 attention", .fence = &fence}); });
  CHECK(at_submit.code == ExitCode::device);
  CHECK(contains(at_submit.what(), "layers.3 attention"));
  CHECK(contains(at_submit.what(), "VK_ERROR_DEVICE_LOST"));

  device.table().vkQueueSubmit = submit;
  const PFN_vkWaitForFences wait = device.table().vkWaitForFences;
  device.queue().submit({.label = "head", .fence = &fence});
  device.table().vkWaitForFences = lose_in_wait;
  const Error at_wait = error_of([&] { fence.wait(); });
  CHECK(contains(at_wait.what(), "\"head\""));
  device.table().vkWaitForFences = wait;
  fence.wait();
}

TEST_CASE("labels longer than the space for them are cut") {
  Device& device = shared_device();
  device.queue().submit({.label = std::string(200, 'x').c_str()});
  device.queue().wait_idle();
  CHECK(std::string(device.queue().last_label()) == std::string(63, 'x'));
}

TEST_CASE("timestamps grow in the order of the commands") {
  Device& device = shared_device();
  Timestamps timestamps(device, 3);
  if (!timestamps.available()) SKIP("this device has no timestamps");
  CommandPool pool(device);
  CommandBuffer commands = pool.allocate();
  Buffer buffer(device, 32 << 20, MemoryKind::device_local, MemoryUse::arena);
  commands.begin(true);
  timestamps.record_reset(commands);
  timestamps.record(commands, 0);
  timestamps.record(commands, 1);
  commands.fill(buffer, 0, buffer.bytes(), 1);
  timestamps.record(commands, 2);
  commands.end();
  Fence fence(device);
  const VkCommandBuffer handle = commands.handle();
  device.queue().submit({.commands = {&handle, 1}, .label = "fill", .fence = &fence});
  fence.wait();
  uint64_t times[3] = {1, 1, 1};
  timestamps.read(times);
  CHECK(times[0] == 0);
  CHECK(times[1] <= times[2]);
  CHECK(times[2] > 0);
}

}  // namespace pocket::test
