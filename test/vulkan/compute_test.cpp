#include <numeric>

#include "runtime/vulkan/compute_context.h"
#include "test/support/catch.h"
#include "test/vulkan/fixture.h"
#include "test/vulkan/shaders.h"

namespace pocket::test {

TEST_CASE("a dispatch sees specialization, push constants, bindings, and its results come back") {
  ComputeContext context(shared_device());
  std::vector<uint32_t> x(1000), y(1000, 7);
  std::iota(x.begin(), x.end(), 0u);
  const std::array buffers = {host_bytes(x), host_bytes(y)};
  context.run(buffers, {.shader = "axpy",
                        .code = k_axpy,
                        .specialization = {64, 3},
                        .bindings = {{0}, {1}},
                        .push_constants = {900},
                        .groups = {16, 1, 1}});
  for (uint32_t i = 0; i < 1000; ++i) {
    CHECK(x[i] == i);
    CHECK(y[i] == 7 + (i < 900 ? 3 * i : 0));
  }
}

TEST_CASE("dispatches of one run are ordered, and ranges of a buffer are bound by offset") {
  ComputeContext context(shared_device());
  const uint32_t count = 4096, alignment = shared_device().limits().offset_alignment;
  const uint32_t words = count + alignment / 4 * 4;
  std::vector<uint32_t> data(2 * words);
  for (uint32_t i = 0; i < count; ++i) data[i] = i;
  const std::array buffers = {host_bytes(data)};
  const ComputeBinding low{0, 0, 4 * count}, high{0, 4 * words, 4 * count};
  std::vector<ComputeDispatch> dispatches;
  for (int i = 0; i < 9; ++i) {
    const bool up = i % 2 == 0;
    dispatches.push_back({.shader = "chain",
                          .code = k_chain,
                          .specialization = {64},
                          .bindings = {up ? low : high, up ? high : low},
                          .push_constants = {count},
                          .groups = {count / 64, 1, 1}});
  }
  context.run(buffers, dispatches);
  for (uint32_t i = 0; i < count; ++i) CHECK(data[words + i] == count - 1 - i + 9);
}

TEST_CASE("a kernel that writes behind its buffer is found") {
  ComputeContext context(shared_device());
  std::vector<uint32_t> x(64, 1), y(60);
  const std::array buffers = {host_bytes(x), host_bytes(y)};
  ComputeDispatch dispatch{.shader = "axpy",
                           .code = k_axpy,
                           .specialization = {64, 1},
                           .bindings = {{0}, {1}},
                           .push_constants = {60},
                           .groups = {1, 1, 1}};
  CHECK_NOTHROW(context.run(buffers, dispatch));
  dispatch.push_constants = {61};
  const Error error = error_of([&] { context.run(buffers, dispatch); });
  CHECK(error.code == ExitCode::wrong_result);
  CHECK(contains(error.what(), "axpy"));
}

TEST_CASE("a binding outside of its buffer is refused") {
  ComputeContext context(shared_device());
  std::vector<uint32_t> x(64), y(64);
  const std::array buffers = {host_bytes(x), host_bytes(y)};
  const auto run = [&](ComputeBinding second) {
    return error_of([&] {
      context.run(buffers, {.shader = "axpy",
                            .code = k_axpy,
                            .specialization = {64, 1},
                            .bindings = {{0}, second},
                            .push_constants = {0}});
    });
  };
  CHECK(run({1, 0, 256}).code == ExitCode::ok);
  CHECK(run({1, 0, 260}).code == ExitCode::device);
  CHECK(run({1, 256, 0}).code == ExitCode::device);
  CHECK(run({2, 0, 4}).code == ExitCode::device);
}

}  // namespace pocket::test
