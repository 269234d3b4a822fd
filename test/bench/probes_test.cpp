#include <cstring>

#include "runtime/bench/peaks.h"
#include "test/support/catch.h"
#include "test/vulkan/fixture.h"

namespace pocket::test {
namespace {

PFN_vkCmdDispatch g_dispatch = nullptr;
VKAPI_ATTR void VKAPI_CALL half_the_groups(VkCommandBuffer commands, uint32_t x, uint32_t y,
                                           uint32_t z) {
  g_dispatch(commands, x, y, x > 1 ? 0 : z);
}

// The first word of the probes' constants counts 16-byte words or rounds.
PFN_vkCmdPushConstants g_push = nullptr;
VKAPI_ATTR void VKAPI_CALL one_round_fewer(VkCommandBuffer commands, VkPipelineLayout layout,
                                           VkShaderStageFlags stages, uint32_t offset,
                                           uint32_t bytes, const void* values) {
  std::vector<uint32_t> words(bytes / 4);
  std::memcpy(words.data(), values, bytes);
  words[0] -= words[0] > 1 << 16 ? words[0] / 2 : 1;
  g_push(commands, layout, stages, offset, bytes, words.data());
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

TEST_CASE("the read probe reads everything it says, whatever a binding holds") {
  const uint64_t binding = GENERATE(uint64_t{64} << 10, uint64_t{1} << 20, uint64_t{128} << 20);
  DeviceOptions options = no_cache();
  options.limits = {{"max_binding", binding}};
  Device device(shared_instance(), options);
  const bench::PeakProbe probe = bench::probe_read(device, 12 << 20, 1);
  CHECK(probe.work == 12 << 20);
  CHECK(probe.per_second > 0);
  CHECK(contains(probe.shape, "local size"));
}

TEST_CASE("multiply-adds of every kind are counted to the last one") {
  Device device(shared_instance(), no_cache());
  for (const bench::Arithmetic kind :
       {bench::Arithmetic::fp32, bench::Arithmetic::fp16, bench::Arithmetic::int8_dot}) {
    const bench::PeakProbe probe = bench::probe_arithmetic(device, kind, 0.001, 1);
    CAPTURE(probe.skipped, probe.shape);
    CHECK(probe.per_second > 0);
    CHECK(probe.work > 0);
  }
  DeviceOptions lowered = no_cache();
  lowered.limits = {{"fp16_arithmetic", false}};
  Device without(shared_instance(), lowered);
  const bench::PeakProbe skipped = bench::probe_arithmetic(without, bench::Arithmetic::fp16);
  CHECK(skipped.per_second == 0);
  CHECK(contains(skipped.skipped, "no fp16 arithmetic"));
}

TEST_CASE("a probe that does less than it says gives no peak") {
  Device device(shared_instance(), no_cache());
  SECTION("half of the workgroups") {
    g_dispatch = device.table().vkCmdDispatch;
    device.table().vkCmdDispatch = half_the_groups;
  }
  SECTION("one round fewer than asked for, as a driver that ends loops early") {
    g_push = device.table().vkCmdPushConstants;
    device.table().vkCmdPushConstants = one_round_fewer;
  }
  CHECK(error_of([&] { bench::probe_read(device, 8 << 20, 1); }).code == ExitCode::wrong_result);
  CHECK(error_of([&] {
          bench::probe_arithmetic(device, bench::Arithmetic::fp32, 0.001, 1);
        }).code == ExitCode::wrong_result);
  CHECK(error_of([&] {
          bench::probe_arithmetic(device, bench::Arithmetic::int8_dot, 0.001, 1);
        }).code == ExitCode::wrong_result);
}

TEST_CASE("an empty dispatch takes some time") {
  const bench::DispatchProbe probe = bench::probe_empty_dispatch(shared_device(), 50, 3);
  CHECK(probe.dispatches == 50);
  CHECK(probe.nanoseconds > 0);
}

}  // namespace pocket::test
