// The layer that DESIGN relies on must be awake: everything this folder does gives no message, and
// a barrier left out on purpose gives one, inside a command buffer and between two submissions.
#include "test/support/validation.h"

#include "runtime/vulkan/command.h"
#include "runtime/vulkan/descriptor.h"
#include "runtime/vulkan/sync.h"
#include "test/support/catch.h"
#include "test/support/command.h"
#include "test/vulkan/fixture.h"
#include "test/vulkan/shaders.h"

namespace pocket::test {
namespace {

std::string this_program() { return std::filesystem::read_symlink("/proc/self/exe").string(); }

enum class Leave { nothing, inside, between };

// Two dispatches a -> b -> a in one command buffer and the first again in a second submission.
void record_and_run(Device& device, Leave out) {
  const uint32_t count = 256;
  const Buffer a(device, 4 * count, MemoryKind::device_local, MemoryUse::arena);
  const Buffer b(device, 4 * count, MemoryKind::device_local, MemoryUse::arena);
  const Pipeline& pipeline = device.pipelines().get(
      {.shader = "chain", .specialization = {64}, .bindings = {2, 0}, .push_constant_bytes = 4},
      k_chain);
  DescriptorPool descriptors(device, 2, 4);
  const BufferRange whole_a{a.handle(), 0, 4 * count}, whole_b{b.handle(), 0, 4 * count};
  const VkDescriptorSet forward =
      descriptors.allocate(pipeline.set_layout(), std::array{whole_a, whole_b});
  const VkDescriptorSet backward =
      descriptors.allocate(pipeline.set_layout(), std::array{whole_b, whole_a});
  CommandPool pool(device);
  CommandBuffer first = pool.allocate(), second = pool.allocate();
  const uint32_t push[] = {count};

  first.begin();
  first.fill(a, 0, a.bytes(), 1);
  first.barrier(scope::copy_write, scope::shader);
  first.bind(pipeline, forward);
  first.push(pipeline, push);
  first.dispatch({count / 64, 1, 1});
  if (out != Leave::inside) first.barrier(scope::shader, scope::shader);
  first.bind(pipeline, backward);
  first.dispatch({count / 64, 1, 1});
  first.end();

  second.begin();
  if (out != Leave::between) second.barrier(scope::shader, scope::shader);
  second.bind(pipeline, forward);
  second.push(pipeline, push);
  second.dispatch({count / 64, 1, 1});
  second.end();

  Fence fence(device);
  const VkCommandBuffer one = first.handle(), two = second.handle();
  device.queue().submit({.commands = {&one, 1}, .label = "first"});
  device.queue().submit({.commands = {&two, 1}, .label = "second", .fence = &fence});
  fence.wait();
}

}  // namespace

TEST_CASE("under the layers: barriers complete or left out", "[.layers]") {
  Instance& instance = shared_instance();
  REQUIRE(instance.has_validation());
  const auto messages = [&](Leave out) {
    Device device(instance, no_cache());
    const uint64_t before = instance.validation_messages();
    record_and_run(device, out);
    return instance.validation_messages() - before;
  };
  CHECK(messages(Leave::nothing) == 0);
  CHECK(messages(Leave::inside) > 0);
  CHECK(contains(instance.last_validation_message(), "SYNC-HAZARD"));
  CHECK(messages(Leave::between) > 0);
}

TEST_CASE("under the layers: this program's other tests give no message") {
  // Inside the layers this very test does not start itself again.
  if (shared_instance().has_validation()) SKIP("already under the layers");
  const CommandResult result = run_command({this_program()}, kUnderValidation);
  INFO(result.out << result.err);
  if (contains(result.err, "VK_ERROR_LAYER_NOT_PRESENT")) SKIP("no validation layer here");
  CHECK(result.exit_code == 0);
  CHECK_FALSE(contains(result.err, "validation:"));
}

TEST_CASE("the validation layers are awake") {
  if (shared_instance().has_validation()) SKIP("already under the layers");
  const CommandResult result = run_command({this_program(), "[.layers]"}, kUnderValidation);
  INFO(result.out << result.err);
  if (contains(result.err + result.out, "VK_ERROR_LAYER_NOT_PRESENT")) {
    SKIP("no validation layer here");
  }
  CHECK(result.exit_code == 0);
}

}  // namespace pocket::test
