// No speed without a correct device: a driver that computes something else must be noticed by the
// self-test of the same run, before anything is measured.
#include <cstring>
#include <iostream>
#include <sstream>

#include "runtime/base/error.h"
#include "runtime/bench/commands.h"
#include "test/bench/llmbench.h"
#include "test/support/catch.h"
#include "test/vulkan/fixture.h"

namespace pocket::test {
namespace {

PFN_vkGetInstanceProcAddr g_instance_proc = nullptr;
PFN_vkGetDeviceProcAddr g_device_proc = nullptr;
PFN_vkCmdDispatch g_dispatch = nullptr;

// A driver that loses one workgroup of every wider dispatch.
VKAPI_ATTR void VKAPI_CALL lossy_dispatch(VkCommandBuffer commands, uint32_t x, uint32_t y,
                                          uint32_t z) {
  g_dispatch(commands, x > 1 ? x - 1 : x, y, z);
}

VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL lossy_functions(VkDevice device, const char* name) {
  const PFN_vkVoidFunction function = g_device_proc(device, name);
  if (std::strcmp(name, "vkCmdDispatch") != 0) return function;
  g_dispatch = reinterpret_cast<PFN_vkCmdDispatch>(function);
  return reinterpret_cast<PFN_vkVoidFunction>(lossy_dispatch);
}

VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL lossy_loader(VkInstance instance, const char* name) {
  const PFN_vkVoidFunction function = g_instance_proc(instance, name);
  if (std::strcmp(name, "vkGetDeviceProcAddr") != 0) return function;
  g_device_proc = reinterpret_cast<PFN_vkGetDeviceProcAddr>(function);
  return reinterpret_cast<PFN_vkVoidFunction>(lossy_functions);
}

// Every instance and device made in its scope gets the lossy driver.
class LossyDriver {
 public:
  LossyDriver() {
    load_vulkan();
    g_instance_proc = vkGetInstanceProcAddr;
    vkGetInstanceProcAddr = lossy_loader;
  }
  ~LossyDriver() { vkGetInstanceProcAddr = g_instance_proc; }
  LossyDriver(const LossyDriver&) = delete;
  LossyDriver& operator=(const LossyDriver&) = delete;
};

class CapturedStdout {
 public:
  CapturedStdout() : original_(std::cout.rdbuf(stream_.rdbuf())) {}
  ~CapturedStdout() { std::cout.rdbuf(original_); }
  std::string text() const { return stream_.str(); }

 private:
  std::ostringstream stream_;
  std::streambuf* original_;
};

bench::RunOptions small_run(const std::string& model) {
  bench::RunOptions options;
  options.model = model;
  options.prompts = {5};
  options.generate = 3;
  options.repetitions = 1;
  options.warmup = 0;
  options.common.quiet = true;
  options.json = "-";
  return options;
}

}  // namespace

TEST_CASE("run prints no speed when the self-test does not pass") {
  const TinyFile model;
  {
    const CapturedStdout captured;
    const LossyDriver lossy;
    const Error error = error_of([&] { bench::run(small_run(model.path())); });
    CHECK(error.code == ExitCode::wrong_result);
    CHECK(contains(error.what(), "self-test"));
    CHECK(captured.text().empty());
  }
  const CapturedStdout captured;
  CHECK(bench::run(small_run(model.path())) == ExitCode::ok);
  CHECK(contains(captured.text(), "decode_tokens_per_second"));
}

TEST_CASE("selftest says which kernel failed") {
  const TinyFile model;
  bench::SelfTestCommandOptions options;
  options.model = model.path();
  options.repeats = 1;
  const CapturedStdout captured;
  const LossyDriver lossy;
  const ExitCode code = bench::selftest(options);
  CHECK(code == ExitCode::wrong_result);
  CHECK(contains(captured.text(), "FAIL  "));
  CHECK(contains(captured.text(), "NOT PASSED"));
}

}  // namespace pocket::test
