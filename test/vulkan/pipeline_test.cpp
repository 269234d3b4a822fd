#include "runtime/vulkan/pipeline.h"

#include <cstdlib>

#include "runtime/vulkan/pipeline_cache.h"
#include "test/support/catch.h"
#include "test/support/command.h"
#include "test/vulkan/fixture.h"
#include "test/vulkan/shaders.h"

namespace pocket::test {
namespace {

PFN_vkCreateComputePipelines g_create = nullptr;
int g_created = 0;
VKAPI_ATTR VkResult VKAPI_CALL count_pipelines(VkDevice device, VkPipelineCache cache,
                                               uint32_t count,
                                               const VkComputePipelineCreateInfo* info,
                                               const VkAllocationCallbacks* callbacks,
                                               VkPipeline* out) {
  g_created += static_cast<int>(count);
  return g_create(device, cache, count, info, callbacks, out);
}
VKAPI_ATTR VkResult VKAPI_CALL fail_pipelines(VkDevice, VkPipelineCache, uint32_t,
                                              const VkComputePipelineCreateInfo*,
                                              const VkAllocationCallbacks*, VkPipeline*) {
  return VK_ERROR_UNKNOWN;
}

PipelineKey axpy_key(uint32_t local_size) {
  return {.shader = "axpy",
          .specialization = {local_size, 1},
          .bindings = {2, 0},
          .push_constant_bytes = 4};
}

}  // namespace

TEST_CASE("a pipeline is created at first use and once per key") {
  Device device(shared_instance(), no_cache());
  g_create = device.table().vkCreateComputePipelines;
  device.table().vkCreateComputePipelines = count_pipelines;
  g_created = 0;
  const Pipeline& first = device.pipelines().get(axpy_key(64), k_axpy);
  CHECK(g_created == 1);
  CHECK(&device.pipelines().get(axpy_key(64), k_axpy) == &first);
  CHECK(g_created == 1);
  const Pipeline& second = device.pipelines().get(axpy_key(32), k_axpy);
  CHECK(g_created == 2);
  CHECK(&second != &first);
  CHECK(second.layout() == first.layout());
  CHECK(device.pipelines().pipeline_count() == 2);
}

TEST_CASE("a pipeline that cannot be built names kernel, constants and driver") {
  Device device(shared_instance(), no_cache());
  device.table().vkCreateComputePipelines = fail_pipelines;
  const Error error = error_of([&] { device.pipelines().get(axpy_key(64), k_axpy); });
  CHECK(error.code == ExitCode::device);
  CHECK(contains(error.what(), "\"axpy\""));
  CHECK(contains(error.what(), "[64 1]"));
  CHECK(contains(error.what(), device.info().driver));
  CHECK(device.pipelines().pipeline_count() == 0);

  CHECK(error_of([&] { device.pipelines().get({.shader = "none"}, {}); }).code == ExitCode::device);
}

TEST_CASE("push constants and bindings beyond the limits are refused") {
  Device& device = shared_device();
  PipelineKey key = axpy_key(64);
  key.push_constant_bytes = device.limits().max_push_constants + 4;
  CHECK(contains(error_of([&] { device.pipelines().get(key, k_axpy); }).what(),
                 std::to_string(device.limits().max_push_constants)));
  key = axpy_key(64);
  key.bindings.count = device.limits().max_storage_buffers + 1;
  CHECK(error_of([&] { device.pipelines().get(key, k_axpy); }).code == ExitCode::device);
}

TEST_CASE("descriptor ranges are checked against the limits") {
  DeviceOptions options = no_cache();
  options.limits = {{"max_binding", 1024}, {"offset_alignment", 256}};
  Device device(shared_instance(), options);
  const Pipeline& pipeline = device.pipelines().get(axpy_key(64), k_axpy);
  const Buffer buffer(device, 4096, MemoryKind::device_local, MemoryUse::arena);
  DescriptorPool pool(device, 4, 8);
  const auto code = [&](std::vector<BufferRange> ranges) {
    return error_of([&] { pool.allocate(pipeline.set_layout(), ranges); }).code;
  };
  const BufferRange good{buffer.handle(), 256, 1024};
  CHECK(code({good, good}) == ExitCode::ok);
  CHECK(code({good}) == ExitCode::device);
  CHECK(code({good, {buffer.handle(), 256, 1028}}) == ExitCode::device);
  CHECK(code({good, {buffer.handle(), 128, 1024}}) == ExitCode::device);
  CHECK(code({good, {buffer.handle(), 256, 0}}) == ExitCode::device);
  CHECK(code({good, {VK_NULL_HANDLE, 256, 64}}) == ExitCode::device);
}

TEST_CASE("the pipeline cache is saved after a burst, loaded next time, and ignored when damaged") {
  const TemporaryFolder folder;
  DeviceOptions options;
  options.cache_folder = folder / "new/cache";
  std::string path;
  {
    Device device(shared_instance(), options);
    CHECK_FALSE(device.pipelines().cache_was_loaded());
    path = device.pipelines().cache_path();
    device.pipelines().save_cache();
    CHECK_FALSE(std::filesystem::exists(path));  // nothing was compiled
    device.pipelines().get(axpy_key(64), k_axpy);
    device.pipelines().save_cache();
    REQUIRE(std::filesystem::exists(path));
  }
  const std::string bytes = read_file(path);
  const auto loaded = [&] {
    Device device(shared_instance(), options);
    device.pipelines().get(axpy_key(64), k_axpy);
    return device.pipelines().cache_was_loaded();
  };
  CHECK(loaded());
  for (size_t at : {size_t{0}, size_t{9}, size_t{17}, size_t{25}, bytes.size() - 1}) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 1);
    write_file(path, damaged);
    INFO("byte " << at);
    CHECK_FALSE(loaded());
  }
  write_file(path, bytes.substr(0, bytes.size() - 1));
  CHECK_FALSE(loaded());
  write_file(path, bytes + "x");
  CHECK_FALSE(loaded());
  write_file(path, "");
  CHECK_FALSE(loaded());
  write_file(path, bytes);
  CHECK(loaded());
  // Nothing but the cache itself stays behind.
  CHECK(std::distance(std::filesystem::directory_iterator(folder / "new/cache"), {}) == 1);
}

TEST_CASE("a cache folder that cannot be written is no error") {
  DeviceOptions options;
  options.cache_folder = "/proc/pocketformer";
  Device device(shared_instance(), options);
  device.pipelines().get(axpy_key(64), k_axpy);
  CHECK_NOTHROW(device.pipelines().save_cache());
}

TEST_CASE("the cache lies in the user's cache folder") {
  const std::string home = std::getenv("HOME") ? std::getenv("HOME") : "";
  const std::string xdg = std::getenv("XDG_CACHE_HOME") ? std::getenv("XDG_CACHE_HOME") : "";
  setenv("XDG_CACHE_HOME", "/somewhere", 1);
  CHECK(default_cache_folder() == "/somewhere/pocketformer");
  unsetenv("XDG_CACHE_HOME");
  setenv("HOME", "/nowhere/someone", 1);
  CHECK(default_cache_folder() == "/nowhere/someone/.cache/pocketformer");
  unsetenv("HOME");
  CHECK(default_cache_folder().empty());
  if (!home.empty()) setenv("HOME", home.c_str(), 1);
  if (!xdg.empty()) setenv("XDG_CACHE_HOME", xdg.c_str(), 1);
}

}  // namespace pocket::test
