// Planted faults: barriers left out, Vulkan calls that fail while loading, a device that is lost.
#include <algorithm>

#include "runtime/engine/checker.h"
#include "runtime/vulkan/memory.h"
#include "test/engine/fixture.h"
#include "test/support/validation.h"

namespace pocket::test {
namespace {

std::string this_program() { return std::filesystem::read_symlink("/proc/self/exe").string(); }

// Prompt of three chunks, ten steps with three queued, logits of the last; then, if asked, all
// that was not recorded so far: row tiles, logits by decode, the other sampler.
void use(Engine& engine, bool everything) {
  engine.prefill(random_tokens(19));
  decode_all(engine, 10);
  engine.last_logits();
  if (!everything) return;
  engine.logits(random_tokens(21), 14);
  engine.set_sampling({.temperature = 1, .top_k = 20, .seed = 3});
  engine.reset();
  engine.prefill(random_tokens(9));
  decode_all(engine, 6);
}

EngineOptions logged(const OmittedBarrier& omit = {}) {
  EngineOptions options = engine_options();
  options.queued_steps = 3;
  options.log_stream = true;
  options.poison = false;
  options.omit = omit;
  return options;
}

struct Planted {
  const char* what;
  OmittedBarrier omit;
};

// One of each kind in decode and prefill: before a segment, inside a layer, before the host reads.
const Planted kPlanted[] = {
    {"inside a decode layer", {Phase::decode, "layer1", 1}},
    {"inside a prefill layer", {Phase::prefill, "layer0", 1}},
    {"between two decode segments", {Phase::decode, "layer1", 0}},
    {"between two prefill segments", {Phase::prefill, "layer0", 0}},
};

}  // namespace

TEST_CASE("what the engine submits satisfies the checker") {
  for (const TinyStyle style : {TinyStyle::llama, TinyStyle::gpt2}) {
    TinyOptions tiny;
    tiny.style = style;
    Engine engine(shared_device(), Package::open(tiny_package(tiny)), logged());
    use(engine, true);
    const std::vector<StreamEvent> stream = engine.take_stream();
    CHECK(stream.size() > 300);
    const std::vector<Hazard> hazards = check_stream(stream);
    for (const Hazard& h : hazards) {
      UNSCOPED_INFO(hazard_kind_name(h.kind)
                    << " from " << h.earlier << " to " << h.later << " in buffer " << h.buffer);
    }
    CHECK(hazards.empty());
  }
}

TEST_CASE("the checker finds a barrier left out of the recorded stream") {
  const std::string path = tiny_package({});
  for (const Planted& planted : kPlanted) {
    INFO(planted.what);
    Engine engine(shared_device(), Package::open(path), logged(planted.omit));
    use(engine, false);
    CHECK_FALSE(check_stream(engine.take_stream()).empty());
  }
  // The barrier that makes the ring visible to the host.
  Engine whole(shared_device(), Package::open(path), logged());
  const int32_t last = whole.barrier_count(Phase::decode, "sampler") - 1;
  Engine engine(shared_device(), Package::open(path), logged({Phase::decode, "sampler", last}));
  use(engine, false);
  const std::vector<Hazard> hazards = check_stream(engine.take_stream());
  REQUIRE_FALSE(hazards.empty());
  CHECK(hazards[0].later == "host reads the ring");
}

TEST_CASE("under the layers: a whole run is silent, a planted missing barrier is not",
          "[.layers]") {
  Instance& instance = shared_instance();
  REQUIRE(instance.has_validation());
  const auto messages = [&](const std::string& path, const OmittedBarrier& omit, bool everything) {
    const uint64_t before = instance.validation_messages();
    {
      Device device(instance, no_cache());
      Engine engine(device, Package::open(path), logged(omit));
      use(engine, everything);
    }
    return instance.validation_messages() - before;
  };
  TinyOptions tiny;
  const std::string path = tiny_package(tiny);
  CHECK(messages(path, {}, true) == 0);
  tiny.style = TinyStyle::gpt2;
  tiny.encoding = Encoding::m0e4;
  CHECK(messages(tiny_package(tiny), {}, true) == 0);
  tiny = {};
  tiny.vocab = 40000;  // a sampler of several dispatches
  tiny.layers = 1;
  CHECK(messages(tiny_package(tiny), {}, true) == 0);
  for (const Planted& planted : kPlanted) {
    INFO(planted.what);
    CHECK(messages(path, planted.omit, false) > 0);
    CHECK(contains(instance.last_validation_message(), "SYNC-HAZARD"));
  }
}

TEST_CASE("the validation layers agree: none for a whole run, one for each planted fault") {
  if (shared_instance().has_validation()) SKIP("already under the layers");
  const CommandResult result = run_command({this_program(), "[.layers]"}, kUnderValidation);
  INFO(result.out << result.err);
  if (contains(result.err + result.out, "VK_ERROR_LAYER_NOT_PRESENT")) {
    SKIP("no validation layer here");
  }
  CHECK(result.exit_code == 0);
}

namespace {

// Makes the call number `fail_at` of those that can fail while loading return an error.
int calls = 0, fail_at = -1;
int64_t live_objects = 0;

template <auto Member, int Change>
struct Hook;

template <typename... A, VkResult (VKAPI_PTR* VolkDeviceTable::*Member)(A...), int Change>
struct Hook<Member, Change> {
  inline static VkResult(VKAPI_PTR* original)(A...) = nullptr;
  static VkResult VKAPI_PTR call(A... arguments) {
    if (calls++ == fail_at) return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    const VkResult result = original(arguments...);
    if (result == VK_SUCCESS) live_objects += Change;
    return result;
  }
  static void set(VolkDeviceTable& table) {
    original = table.*Member;
    table.*Member = &call;
  }
};

template <typename Handle,
          void (VKAPI_PTR* VolkDeviceTable::*Member)(VkDevice, Handle,
                                                     const VkAllocationCallbacks*),
          int Change>
struct Hook<Member, Change> {
  inline static void(VKAPI_PTR* original)(VkDevice, Handle, const VkAllocationCallbacks*) = nullptr;
  static void VKAPI_PTR call(VkDevice device, Handle handle, const VkAllocationCallbacks* a) {
    if (handle != VK_NULL_HANDLE) live_objects += Change;
    original(device, handle, a);
  }
  static void set(VolkDeviceTable& table) {
    original = table.*Member;
    table.*Member = &call;
  }
};

void hook_loading(VolkDeviceTable& table) {
  Hook<&VolkDeviceTable::vkAllocateMemory, 1>::set(table);
  Hook<&VolkDeviceTable::vkFreeMemory, -1>::set(table);
  Hook<&VolkDeviceTable::vkCreateBuffer, 1>::set(table);
  Hook<&VolkDeviceTable::vkDestroyBuffer, -1>::set(table);
  Hook<&VolkDeviceTable::vkBindBufferMemory, 0>::set(table);
  Hook<&VolkDeviceTable::vkCreateCommandPool, 1>::set(table);
  Hook<&VolkDeviceTable::vkDestroyCommandPool, -1>::set(table);
  Hook<&VolkDeviceTable::vkAllocateCommandBuffers, 0>::set(table);
  Hook<&VolkDeviceTable::vkCreateDescriptorPool, 1>::set(table);
  Hook<&VolkDeviceTable::vkDestroyDescriptorPool, -1>::set(table);
  Hook<&VolkDeviceTable::vkAllocateDescriptorSets, 0>::set(table);
  Hook<&VolkDeviceTable::vkBeginCommandBuffer, 0>::set(table);
  Hook<&VolkDeviceTable::vkEndCommandBuffer, 0>::set(table);
  Hook<&VolkDeviceTable::vkCreateFence, 1>::set(table);
  Hook<&VolkDeviceTable::vkDestroyFence, -1>::set(table);
  Hook<&VolkDeviceTable::vkCreateShaderModule, 1>::set(table);
  Hook<&VolkDeviceTable::vkDestroyShaderModule, -1>::set(table);
  Hook<&VolkDeviceTable::vkCreateComputePipelines, 0>::set(table);
  Hook<&VolkDeviceTable::vkQueueSubmit, 0>::set(table);
  Hook<&VolkDeviceTable::vkWaitForFences, 0>::set(table);
}

VkResult VKAPI_PTR lost_wait(VkDevice, uint32_t, const VkFence*, VkBool32, uint64_t) {
  return VK_ERROR_DEVICE_LOST;
}
VkResult VKAPI_PTR lost_submit(VkQueue, uint32_t, const VkSubmitInfo*, VkFence) {
  return VK_ERROR_DEVICE_LOST;
}

}  // namespace

TEST_CASE("loading that fails at any call leaves nothing behind") {
  const bool import = GENERATE(false, true);
  Device device(shared_instance(), no_cache());
  TinyOptions tiny;
  tiny.layers = 1;
  const std::string path = tiny_package(tiny);
  hook_loading(device.table());
  EngineOptions options = engine_options();
  options.poison = false;
  options.import_weights = import;
  auto load_and_run = [&] {
    Engine engine(device, Package::open(path), options);
    engine.prefill(random_tokens(9));
    return decode_all(engine, 3);
  };
  calls = 0;
  fail_at = -1;
  const std::vector<int32_t> tokens = load_and_run();  // pipelines are made here and kept
  const int total = calls;
  CHECK(total > 40);
  const int64_t kept = live_objects;
  for (int k = 0; k < total; ++k) {
    calls = 0;
    fail_at = k;
    const Error error = error_of(load_and_run);
    if (calls <= k) break;  // fewer calls than the first time: nothing failed
    INFO("call " << k << ": " << error.what());
    // Memory that the device does not take as its own is copied.
    if (!import || error.code != ExitCode::ok) REQUIRE(error.code == ExitCode::out_of_memory);
    REQUIRE(live_objects == kept);
    for (size_t use = 0; use < kMemoryUses; ++use) {
      REQUIRE(device.memory().usage(static_cast<MemoryUse>(use)).bytes == 0);
    }
  }
  fail_at = -1;
  CHECK(load_and_run() == tokens);
}

TEST_CASE("a lost device is an error that names the last segment") {
  const std::string path = tiny_package({});
  {
    Device device(shared_instance(), no_cache());
    Engine engine(device, Package::open(path), engine_options());
    engine.prefill(random_tokens(9));
    const auto wait = device.table().vkWaitForFences;
    int seen = 0;
    const Error error = error_of([&] {
      engine.decode(20, [&](int32_t) {
        if (++seen == 5) device.table().vkWaitForFences = lost_wait;
        return true;
      });
    });
    device.table().vkWaitForFences = wait;
    CHECK(seen == 5);
    CHECK(error.code == ExitCode::device);
    CHECK(contains(error.what(), "sampler"));
    device.queue().wait_idle();  // it was not really lost
  }
  Device device(shared_instance(), no_cache());
  Engine engine(device, Package::open(path), engine_options());
  const auto submit = device.table().vkQueueSubmit;
  device.table().vkQueueSubmit = lost_submit;
  const Error error = error_of([&] { engine.prefill(random_tokens(9)); });
  device.table().vkQueueSubmit = submit;
  CHECK(error.code == ExitCode::device);
  CHECK(contains(error.what(), "advance"));  // the first chunk of two ends with it
}

}  // namespace pocket::test
