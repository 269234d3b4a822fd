// The host does nothing per token: counted from outside, by wrapping the device's function table
// and the global operator new, not by the engine's own counters.
#include <cstdlib>
#include <new>
#include <string_view>

#include "runtime/vulkan/command.h"
#include "runtime/vulkan/memory.h"
#include "test/engine/fixture.h"
#include "test/engine/generic_model.h"

namespace {

// Counts only what the thread that drives the engine does, between two marks.
thread_local bool counting = false;
uint64_t heap_allocations = 0, forbidden_calls = 0, submits = 0;

void* counted_or_null(std::size_t bytes) {
  if (counting) ++heap_allocations;
  return std::malloc(bytes == 0 ? 1 : bytes);
}

void* counted(std::size_t bytes) {
  void* memory = counted_or_null(bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

void* counted_aligned(std::size_t bytes, std::align_val_t alignment) {
  if (counting) ++heap_allocations;
  const auto a = static_cast<std::size_t>(alignment);
  void* memory = std::aligned_alloc(a, (bytes + a - 1) / a * a);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

void* operator new(std::size_t bytes) { return counted(bytes); }
void* operator new[](std::size_t bytes) { return counted(bytes); }
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  return counted_or_null(bytes);
}
void* operator new[](std::size_t bytes, const std::nothrow_t&) noexcept {
  return counted_or_null(bytes);
}
void* operator new(std::size_t bytes, std::align_val_t a) { return counted_aligned(bytes, a); }
void* operator new[](std::size_t bytes, std::align_val_t a) { return counted_aligned(bytes, a); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

namespace pocket::test {
namespace {

// Replaces table entry `Member` by a function that counts and then calls the driver's. One static
// per entry holds the driver's pointer.
template <auto Member>
struct Wrapped;

template <typename R, typename... A, R (VKAPI_PTR* VolkDeviceTable::*Member)(A...)>
struct Wrapped<Member> {
  inline static R(VKAPI_PTR* original)(A...) = nullptr;
  inline static uint64_t* counter = nullptr;
  static R VKAPI_PTR call(A... arguments) {
    if (counting) ++*counter;
    return original(arguments...);
  }
  static void wrap(VolkDeviceTable& table, uint64_t& count) {
    if (table.*Member == nullptr) return;
    original = table.*Member;
    counter = &count;
    table.*Member = &call;
  }
};

#define POCKET_WRAP(name) Wrapped<&VolkDeviceTable::name>::wrap(table, forbidden_calls)

// Everything that allocates, creates, describes, records or maps.
void wrap_table(VolkDeviceTable& table) {
  POCKET_WRAP(vkAllocateMemory);
  POCKET_WRAP(vkAllocateCommandBuffers);
  POCKET_WRAP(vkAllocateDescriptorSets);
  POCKET_WRAP(vkCreateBuffer);
  POCKET_WRAP(vkCreateBufferView);
  POCKET_WRAP(vkCreateCommandPool);
  POCKET_WRAP(vkCreateComputePipelines);
  POCKET_WRAP(vkCreateDescriptorPool);
  POCKET_WRAP(vkCreateDescriptorSetLayout);
  POCKET_WRAP(vkCreateDescriptorUpdateTemplate);
  POCKET_WRAP(vkCreateEvent);
  POCKET_WRAP(vkCreateFence);
  POCKET_WRAP(vkCreateImage);
  POCKET_WRAP(vkCreatePipelineCache);
  POCKET_WRAP(vkCreatePipelineLayout);
  POCKET_WRAP(vkCreateQueryPool);
  POCKET_WRAP(vkCreateSemaphore);
  POCKET_WRAP(vkCreateShaderModule);
  POCKET_WRAP(vkUpdateDescriptorSets);
  POCKET_WRAP(vkUpdateDescriptorSetWithTemplate);
  POCKET_WRAP(vkBeginCommandBuffer);
  POCKET_WRAP(vkResetCommandBuffer);
  POCKET_WRAP(vkResetCommandPool);
  POCKET_WRAP(vkCmdBindDescriptorSets);
  POCKET_WRAP(vkCmdBindPipeline);
  POCKET_WRAP(vkCmdClearColorImage);
  POCKET_WRAP(vkCmdCopyBuffer);
  POCKET_WRAP(vkCmdCopyBufferToImage);
  POCKET_WRAP(vkCmdCopyImage);
  POCKET_WRAP(vkCmdCopyImageToBuffer);
  POCKET_WRAP(vkCmdCopyQueryPoolResults);
  POCKET_WRAP(vkCmdDispatch);
  POCKET_WRAP(vkCmdDispatchBase);
  POCKET_WRAP(vkCmdDispatchIndirect);
  POCKET_WRAP(vkCmdExecuteCommands);
  POCKET_WRAP(vkCmdFillBuffer);
  POCKET_WRAP(vkCmdPipelineBarrier);
  POCKET_WRAP(vkCmdPushConstants);
  POCKET_WRAP(vkCmdResetEvent);
  POCKET_WRAP(vkCmdResetQueryPool);
  POCKET_WRAP(vkCmdSetEvent);
  POCKET_WRAP(vkCmdUpdateBuffer);
  POCKET_WRAP(vkCmdWaitEvents);
  POCKET_WRAP(vkCmdWriteTimestamp);
  POCKET_WRAP(vkMapMemory);
  POCKET_WRAP(vkUnmapMemory);
  POCKET_WRAP(vkBindBufferMemory);
  Wrapped<&VolkDeviceTable::vkQueueSubmit>::wrap(table, submits);
}

#undef POCKET_WRAP

// Runs 200 steps and counts between the second and the last. `planted` runs once in between.
void count_steps(Engine& engine, const std::function<void()>& planted) {
  heap_allocations = forbidden_calls = submits = 0;
  engine.reset();
  engine.prefill(random_tokens(5));
  decode_all(engine, 1);
  int seen = 0;
  engine.decode(200, [&](int32_t) {
    ++seen;
    if (seen == 100 && planted) planted();
    counting = seen >= 2 && seen < 200;
    return true;
  });
  counting = false;
  REQUIRE(seen == 200);
}

}  // namespace

TEST_CASE("between the second and the last of 200 steps nothing is allocated or recorded") {
  Device device(shared_instance(), no_cache());
  Engine engine(device, Package::open(tiny_package({})), engine_options(256, 16));
  wrap_table(device.table());  // after load: 200 steps use what is recorded

  count_steps(engine, {});
  CHECK(submits >= 195);  // the counters count at all
  CHECK(forbidden_calls == 0);
  CHECK(heap_allocations == 0);

  SECTION("a planted recording is found") {
    CommandPool pool(device);
    CommandBuffer commands = pool.allocate();
    count_steps(engine, [&] {
      commands.begin();
      commands.barrier(scope::shader, scope::shader);
      commands.end();
    });
    CHECK(forbidden_calls == 2);
  }
  SECTION("a planted buffer is found") {
    count_steps(engine, [&] { Buffer(device, 64, MemoryKind::device_local, MemoryUse::arena); });
    CHECK(forbidden_calls >= 1);
  }
  SECTION("a planted heap allocation is found") {
    std::unique_ptr<int> planted;
    count_steps(engine, [&] { planted = std::make_unique<int>(1); });
    CHECK(heap_allocations == 1);
  }
}

TEST_CASE("generic operators cost the host nothing per step either") {
  Device device(shared_instance(), no_cache());
  TinyOptions options;
  options.unfused = true;
  const TemporaryFolder folder;
  const std::string path = (folder.path() / "generic.pocket").string();
  write_tiny_model(generalised(make_tiny_model(options)), path);
  Engine engine(device, Package::open(path), engine_options(256, 16));
  wrap_table(device.table());
  count_steps(engine, {});
  CHECK(submits >= 195);
  CHECK(forbidden_calls == 0);
  CHECK(heap_allocations == 0);
}

TEST_CASE("host time of a step is counted, waiting apart") {
  Device device(shared_instance(), no_cache());
  Engine engine(device, Package::open(tiny_package({})), engine_options(256, 16));
  engine.prefill(random_tokens(5));
  engine.clear_statistics();
  decode_all(engine, 101);
  const PhaseStatistics& decode = engine.statistics().decode;
  CHECK(decode.tokens == 100);
  CHECK(decode.wait_ns > 0);
  CHECK(decode.work_ns > 0);
  WARN("host work " << static_cast<double>(decode.work_ns) / 1e5 << " us a token, waiting "
                    << static_cast<double>(decode.wait_ns) / 1e5 << " us");
}

}  // namespace pocket::test
