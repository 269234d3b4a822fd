#include "runtime/bench/probes.h"

#include "test/support/catch.h"
#include "test/vulkan/fixture.h"

namespace pocket::test {
namespace {

PFN_vkCmdDispatch g_dispatch = nullptr;
VKAPI_ATTR void VKAPI_CALL half_the_groups(VkCommandBuffer commands, uint32_t x, uint32_t y,
                                           uint32_t z) {
  g_dispatch(commands, x, y, x > 1 ? 0 : z);
}

VKAPI_ATTR VkResult VKAPI_CALL no_memory(VkDevice, const VkMemoryAllocateInfo*,
                                         const VkAllocationCallbacks*, VkDeviceMemory*) {
  return VK_ERROR_OUT_OF_DEVICE_MEMORY;
}

}  // namespace

TEST_CASE("the copy probe covers everything it says, whatever a binding holds") {
  const uint64_t binding = GENERATE(uint64_t{64} << 10, uint64_t{1} << 20, uint64_t{128} << 20);
  DeviceOptions options = no_cache();
  options.limits = {{"max_binding", binding}};
  Device device(shared_instance(), options);
  // Odd, so that the last range is short.
  const bench::CopyProbe probe = bench::probe_copy(device, (6 << 20) + 256, 1);
  CHECK(probe.bytes == 2 * ((6 << 20) + 256));
  CHECK(probe.bytes_per_second > 0);
  CHECK(probe.skipped.empty());
}

TEST_CASE("the copy probe at its full size leaves no word uncopied") {
  Device device(shared_instance(), no_cache());
  const bench::CopyProbe probe = bench::probe_copy(device, 128ull << 20, 1);
  CHECK(probe.bytes == 256ull << 20);
}

TEST_CASE("a copy that did not happen gives no bandwidth") {
  Device device(shared_instance(), no_cache());
  g_dispatch = device.table().vkCmdDispatch;
  device.table().vkCmdDispatch = half_the_groups;
  const Error error = error_of([&] { bench::probe_copy(device, 8 << 20, 1); });
  CHECK(error.code == ExitCode::wrong_result);
}

TEST_CASE("without memory the copy probe is skipped with the reason") {
  Device device(shared_instance(), no_cache());
  device.table().vkAllocateMemory = no_memory;
  const bench::CopyProbe probe = bench::probe_copy(device, 64 << 20, 1);
  CHECK(probe.bytes_per_second == 0);
  CHECK(contains(probe.skipped, "refused"));
}

TEST_CASE("an empty dispatch takes some time") {
  const bench::DispatchProbe probe = bench::probe_empty_dispatch(shared_device(), 50, 3);
  CHECK(probe.dispatches == 50);
  CHECK(probe.nanoseconds > 0);
}

}  // namespace pocket::test
