// The plan as data, without a device: sizes, segments, lowered chunks, refusals.
#include <algorithm>

#include "runtime/engine/checker.h"
#include "runtime/engine/engine_plan.h"
#include "runtime/vulkan/memory.h"
#include "test/engine/fixture.h"

namespace pocket::test {
namespace {

DeviceLimits phone() {
  DeviceLimits limits;
  limits.name = "a phone";
  limits.max_invocations = 256;
  limits.max_group_size[0] = limits.max_group_size[1] = limits.max_group_size[2] = 256;
  limits.max_storage_buffers = 16;
  limits.subgroup_size = 16;
  limits.storage_16bit = true;
  limits.fp16_arithmetic = true;
  return limits;
}

}  // namespace

TEST_CASE("a plan holds one segment per layer, copies for the queue, and sums that add up") {
  const Package package = Package::open(tiny_package({}));
  EngineOptions options = engine_options();
  options.queued_steps = 3;
  const EnginePlan plan = plan_engine(package.manifest(), phone(), options);
  CHECK(plan.context == 64);
  CHECK(plan.chunk == 8);
  CHECK(plan.messages.empty());
  // Embedding and two layers.
  CHECK(plan.find(Phase::decode, SegmentRole::body).size() == 3);
  CHECK(plan.find(Phase::prefill, SegmentRole::body).size() == 3);
  for (const int32_t s : plan.find(Phase::decode, SegmentRole::body)) {
    CHECK(plan.segments[static_cast<size_t>(s)].copies == 3);
  }
  uint64_t weights = 0, total = 0;
  for (const Shard& shard : package.manifest().shards) weights += shard.bytes;
  for (const BufferSpec& buffer : plan.buffers) total += buffer.bytes;
  CHECK(plan.memory.weights == weights);
  CHECK(plan.memory.kv == 2 * 2 * 64 * 8 * 2);  // layers, K and V, rows, head, f16
  CHECK(plan.memory.rope == 64 * 8 * 4);
  CHECK(plan.memory.total() == total + plan.memory.staging);
  CHECK(plan.memory.staging <= 16u << 20);
  for (const SegmentPlan& segment : plan.segments) {
    for (const auto& bindings : segment.bindings) {
      for (const Touch& touch : bindings) {
        CHECK(touch.begin < touch.end);
        CHECK(touch.end <= plan.buffers[static_cast<size_t>(touch.buffer)].bytes);
        CHECK(touch.end - touch.begin <= phone().max_binding);
      }
    }
  }
}

TEST_CASE("the barriers of every plan satisfy the checker, and each inner one is needed") {
  for (const TinyStyle style : {TinyStyle::llama, TinyStyle::gpt2}) {
    TinyOptions tiny;
    tiny.style = style;
    tiny.unfused = style == TinyStyle::llama;
    const Package package = Package::open(tiny_package(tiny));
    const EnginePlan plan = plan_engine(package.manifest(), phone(), engine_options());
    std::vector<StreamEvent> all;
    size_t planted = 0;
    for (const SegmentPlan& segment : plan.segments) {
      all.insert(all.end(), segment.stream.begin(), segment.stream.end());
      REQUIRE(segment.stream.front().kind == StreamEvent::Kind::barrier);
      for (size_t i = 1; i < segment.stream.size(); ++i) {
        if (segment.stream[i].kind != StreamEvent::Kind::barrier) continue;
        if (segment.stream[i].target == kStageHost) continue;
        auto cut = segment.stream;
        cut.erase(cut.begin() + static_cast<std::ptrdiff_t>(i));
        CHECK_FALSE(check_stream(cut).empty());
        ++planted;
      }
    }
    CHECK(planted > 20);
    CHECK(check_stream(all).empty());
  }
}

TEST_CASE("the chunk is lowered until its bindings fit, with a message") {
  TinyOptions tiny;
  tiny.intermediate = 4096;  // 16 KiB a row
  tiny.layers = 1;
  const Package package = Package::open(tiny_package(tiny));
  DeviceLimits limits = phone();
  limits.max_binding = 256 << 10;
  const EnginePlan plan = plan_engine(package.manifest(), limits, engine_options(64, 32));
  CHECK(plan.chunk >= 1);
  CHECK(plan.chunk <= 16);
  REQUIRE(plan.messages.size() == 1);
  CHECK(contains(plan.messages[0], "lowered from 32 to " + std::to_string(plan.chunk)));
  for (const SegmentPlan& segment : plan.segments) {
    for (const auto& bindings : segment.bindings) {
      for (const Touch& touch : bindings) CHECK(touch.end - touch.begin <= limits.max_binding);
    }
  }
}

TEST_CASE("options outside the program's ranges are refused") {
  const Package package = Package::open(tiny_package({}));
  auto plan = [&](int64_t context, int64_t chunk, int32_t queued) {
    EngineOptions options = engine_options(context, chunk);
    options.queued_steps = queued;
    return error_of([&] { plan_engine(package.manifest(), phone(), options); });
  };
  CHECK(plan(256, 8, 2).code == ExitCode::ok);
  CHECK(contains(plan(257, 8, 2).what(), "between 1 and the model's 256 positions but is 257"));
  CHECK(plan(-1, 8, 2).code == ExitCode::usage);
  CHECK(plan(64, -1, 2).code == ExitCode::usage);
  CHECK(plan(64, 8, 0).code == ExitCode::usage);
  CHECK(plan(64, 8, 9).code == ExitCode::usage);
  // A chunk never exceeds the context.
  CHECK(plan_engine(package.manifest(), phone(), engine_options(5, 8)).chunk == 5);
}

TEST_CASE("what does not fit is refused before anything is allocated") {
  Device device(shared_instance(), no_cache());
  std::vector<std::string> said;
  EngineOptions options = engine_options();
  options.memory_limit = 10000;
  options.message = [&](const std::string& message) { said.push_back(message); };
  const std::string path = tiny_package({});
  const Error error = error_of([&] { Engine(device, Package::open(path), options); });
  CHECK(error.code == ExitCode::out_of_memory);
  CHECK(contains(error.what(), "weights 0.0"));
  REQUIRE(said.size() == 1);
  CHECK(contains(said[0], "Planned device memory: weights"));
  CHECK(device.memory().peak_block_bytes() == 0);
}

TEST_CASE("a damaged shard is refused") {
  const std::string path = tiny_package({});
  std::string bytes = read_file(path);
  bytes[bytes.size() - 70] = static_cast<char>(bytes[bytes.size() - 70] ^ 4);
  const TemporaryFolder folder;
  write_file(folder / "damaged.pocket", bytes);
  const Error error = error_of(
      [&] { Engine(shared_device(), Package::open(folder / "damaged.pocket"), engine_options()); });
  CHECK(error.code == ExitCode::bad_input);
}

}  // namespace pocket::test
