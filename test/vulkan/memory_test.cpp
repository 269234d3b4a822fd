#include "runtime/vulkan/memory.h"

#include <algorithm>
#include <map>
#include <random>

#include "runtime/vulkan/buffer.h"
#include "test/support/catch.h"
#include "test/vulkan/fixture.h"

namespace pocket::test {
namespace {

VkMemoryRequirements needs(uint64_t bytes, uint64_t alignment) { return {bytes, alignment, ~0u}; }

int g_refusals = 0;
VKAPI_ATTR VkResult VKAPI_CALL refuse_memory(VkDevice, const VkMemoryAllocateInfo*,
                                             const VkAllocationCallbacks*, VkDeviceMemory*) {
  ++g_refusals;
  return VK_ERROR_OUT_OF_DEVICE_MEMORY;
}

}  // namespace

TEST_CASE("allocations are aligned, never overlap, and everything comes back") {
  Device device(shared_instance(), no_cache());
  Memory& memory = device.memory();
  std::mt19937 random(5);
  std::vector<Allocation> live;
  const auto no_overlap = [&] {
    std::map<std::pair<VkDeviceMemory, uint64_t>, uint64_t> ranges;
    for (const Allocation& a : live) ranges[{a.memory(), a.offset()}] = a.bytes();
    if (ranges.size() != live.size()) return false;
    for (auto it = ranges.begin(); it != ranges.end(); ++it) {
      const auto next = std::next(it);
      if (next != ranges.end() && next->first.first == it->first.first &&
          it->first.second + it->second > next->first.second) {
        return false;
      }
    }
    return true;
  };
  uint64_t sum = 0;
  for (int step = 0; step < 2000; ++step) {
    if (live.size() < 40 || (random() % 2 && live.size() < 120)) {
      const uint64_t bytes = 1 + random() % (random() % 8 == 0 ? 3000000 : 5000);
      const uint64_t alignment = 1ull << (random() % 13);
      live.push_back(
          memory.allocate(needs(bytes, alignment), MemoryKind::device_local, MemoryUse::arena));
      sum += live.back().bytes();
      REQUIRE(live.back().offset() % alignment == 0);
      REQUIRE(live.back().bytes() >= bytes);
    } else {
      const size_t index = random() % live.size();
      sum -= live[index].bytes();
      std::swap(live[index], live.back());
      live.pop_back();
    }
    REQUIRE(memory.usage(MemoryUse::arena).bytes == sum);
    if (step % 50 == 0) REQUIRE(no_overlap());
  }
  CHECK(memory.usage(MemoryUse::arena).peak >= sum);
  CHECK(memory.usage(MemoryUse::weights).bytes == 0);
  CHECK(memory.block_bytes() >= sum);
  live.clear();
  CHECK(memory.usage(MemoryUse::arena).bytes == 0);
  CHECK(memory.block_count() <= 1);
  CHECK(memory.peak_block_bytes() >= memory.usage(MemoryUse::arena).peak);
}

TEST_CASE("kinds of memory are what they promise") {
  Device& device = shared_device();
  Buffer upload(device, 100, MemoryKind::upload, MemoryUse::staging);
  Buffer readback(device, 100, MemoryKind::readback, MemoryUse::staging);
  CHECK(upload.bytes() == 112);
  CHECK(upload.mapped().size() == 112);
  CHECK(readback.mapped().size() == 112);
  CHECK(readback.host_cached());
  CHECK(device.memory().usage(MemoryUse::staging).bytes >= 224);
  Buffer moved = std::move(upload);
  CHECK_FALSE(upload);
  CHECK(moved.bytes() == 112);
  moved = Buffer();
  CHECK_FALSE(moved);
}

TEST_CASE("more than one block is refused with the use and the sum") {
  const Error error = error_of([] {
    Buffer(shared_device(), kMemoryBlockBytes + 1, MemoryKind::device_local, MemoryUse::kv);
  });
  CHECK(error.code == ExitCode::out_of_memory);
  CHECK(contains(error.what(), "kv"));
  CHECK(contains(error.what(), std::to_string(kMemoryBlockBytes)));
}

TEST_CASE("a device without memory left ends in the out-of-memory exit code") {
  Device device(shared_instance(), no_cache());
  device.table().vkAllocateMemory = refuse_memory;
  g_refusals = 0;
  const Error error =
      error_of([&] { Buffer(device, 5000, MemoryKind::device_local, MemoryUse::weights); });
  CHECK(g_refusals == 2);  // a shared block first, then exactly what is needed
  CHECK(error.code == ExitCode::out_of_memory);
  CHECK(contains(error.what(), "weights"));
  CHECK(device.memory().usage(MemoryUse::weights).bytes == 0);
}

TEST_CASE("host memory is imported in whole pages, once, and given back") {
  Device device(shared_instance(), no_cache());
  const uint64_t page = device.info().host_import_alignment;
  if (page == 0 || !device.info().shares_host_memory) {
    WARN("the device takes no host memory");
    return;
  }
  std::vector<std::byte> bytes(4 * page, std::byte{1});
  const auto begin = reinterpret_cast<uintptr_t>(bytes.data());
  const std::span<const std::byte> pages{bytes.data() + ((begin + page - 1) / page * page - begin),
                                         2 * page};
  CHECK_FALSE(Buffer::import_host(device, pages.subspan(16), MemoryUse::weights));
  CHECK_FALSE(Buffer::import_host(device, pages.first(page + 16), MemoryUse::weights));
  CHECK_FALSE(Buffer::import_host(device, {}, MemoryUse::weights));
  const uint64_t blocks = device.memory().block_bytes();
  {
    const Buffer buffer = Buffer::import_host(device, pages, MemoryUse::weights);
    REQUIRE(buffer);
    CHECK(buffer.bytes() == 2 * page);
    CHECK(device.memory().imported_bytes() == 2 * page);
    CHECK(device.memory().usage(MemoryUse::weights).bytes == 2 * page);
    CHECK(device.memory().block_bytes() == blocks);
    // Other allocations never land in it.
    const Buffer other(device, 4096, MemoryKind::device_local, MemoryUse::arena);
    CHECK(device.memory().block_bytes() > blocks);
  }
  CHECK(device.memory().imported_bytes() == 0);
  CHECK(device.memory().usage(MemoryUse::weights).bytes == 0);
}

}  // namespace pocket::test
