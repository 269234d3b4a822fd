// What loading costs the process, by the kernel's own account (/proc/self/smaps_rollup): a program
// of its own, since memory that earlier tests gave back to the allocator would hide growth.
#include <malloc.h>

#include "runtime/engine/loader.h"
#include "runtime/vulkan/memory.h"
#include "test/engine/fixture.h"

namespace pocket::test {
namespace {

constexpr uint64_t kMiB = 1 << 20;
constexpr uint64_t kSlack = 64 * kMiB;  // issue 4: what loading may add

struct Resident {
  uint64_t anonymous = 0, file = 0;  // bytes
};

Resident resident() {
  malloc_trim(0);
  std::ifstream rollup("/proc/self/smaps_rollup");
  std::string line;
  uint64_t rss = 0, anonymous = 0;
  while (std::getline(rollup, line)) {
    if (line.starts_with("Rss:")) rss = std::stoull(line.substr(4)) * 1024;
    if (line.starts_with("Anonymous:")) anonymous = std::stoull(line.substr(10)) * 1024;
  }
  return {anonymous, rss - anonymous};
}

// 96 MiB of f16 weights in shards of at most 32 MiB.
const std::string& large_package() {
  static const std::string path = [] {
    TinyOptions options;
    options.hidden = 512;
    options.intermediate = 512;
    options.vocab = 98'000;
    options.layers = 1;
    return tiny_package(options, 32 * kMiB);
  }();
  return path;
}

struct Growth {
  Resident added;
  uint64_t device_bytes = 0, imported = 0, weights = 0;
};

Growth load(bool import) {
  Package package = Package::open(large_package());
  for (size_t i = 0; i < package.manifest().shards.size(); ++i) package.drop_pages(i);
  Device device(shared_instance(), no_cache());
  const Resident before = resident();
  EngineOptions options = engine_options();
  options.poison = false;
  options.import_weights = import;
  const Engine engine(device, std::move(package), options);
  const Resident after = resident();
  const auto more = [](uint64_t now, uint64_t then) { return now > then ? now - then : 0; };
  return {{more(after.anonymous, before.anonymous), more(after.file, before.file)},
          engine.allocated_bytes() - device.memory().imported_bytes(),
          device.memory().imported_bytes(),
          engine.planned_memory().weights};
}

}  // namespace

TEST_CASE("loading by copy adds what lies on the device and little else, and keeps no file pages") {
  const Growth growth = load(false);
  CAPTURE(growth.added.anonymous, growth.added.file, growth.device_bytes);
  REQUIRE(growth.weights > 90 * kMiB);
  CHECK(growth.imported == 0);
  CHECK(growth.added.anonymous <= kSlack + growth.device_bytes);
  CHECK(growth.added.file < 16 * kMiB);
  if (shared_device().info().type == "cpu") {
    // The account is the right one: where device memory is host memory, the copy shows in it.
    CHECK(growth.added.anonymous > growth.weights);
  }
}

TEST_CASE("where the device reads the mapped file nothing is copied") {
  const Growth growth = load(true);
  CAPTURE(growth.added.anonymous, growth.added.file, growth.imported);
  const DeviceInfo& info = shared_device().info();
  if (info.host_import_alignment == 0 || !info.shares_host_memory) {
    CHECK(growth.imported == 0);
    return;
  }
  if (info.type == "cpu") CHECK(growth.imported >= growth.weights);
  CHECK(growth.added.anonymous <= kSlack + growth.device_bytes);
  CHECK(growth.added.file < 16 * kMiB);
}

TEST_CASE("imported and copied weights give the same logits") {
  const std::string path = tiny_package({});
  const std::vector<int32_t> tokens = random_tokens(30);
  std::vector<std::vector<float>> logits;
  for (const bool import : {false, true}) {
    EngineOptions options = engine_options();
    options.import_weights = import;
    Engine engine(shared_device(), Package::open(path), options);
    logits.push_back(engine.logits(tokens, 20));
  }
  CHECK(logits[0] == logits[1]);
}

TEST_CASE("a driver that refuses the file's pages gets a copy") {
  Device device(shared_instance(), no_cache());
  SECTION("it knows no memory type for them") {
    device.table().vkGetMemoryHostPointerPropertiesEXT =
        [](VkDevice, VkExternalMemoryHandleTypeFlagBits, const void*,
           VkMemoryHostPointerPropertiesEXT* properties) {
          properties->memoryTypeBits = 0;
          return VK_SUCCESS;
        };
  }
  SECTION("it refuses them") {
    device.table().vkGetMemoryHostPointerPropertiesEXT =
        [](VkDevice, VkExternalMemoryHandleTypeFlagBits, const void*,
           VkMemoryHostPointerPropertiesEXT*) { return VK_ERROR_INVALID_EXTERNAL_HANDLE; };
  }
  Engine engine(device, Package::open(tiny_package({})), engine_options());
  CHECK(device.memory().imported_bytes() == 0);
  engine.prefill(random_tokens(9));
  CHECK(decode_all(engine, 3).size() == 3);
}

TEST_CASE("the memory that may be planned is what the host can spare where it is shared") {
  DeviceInfo info;
  info.device_heap_bytes = uint64_t{1} << 50;
  CHECK(available_memory(info) == uint64_t{1} << 50);
  info.shares_host_memory = true;
  CHECK(available_memory(info) > 64 * kMiB);
  CHECK(available_memory(info) < uint64_t{1} << 46);
  info.device_heap_bytes = 1000;
  CHECK(available_memory(info) == 1000);
}

}  // namespace pocket::test
