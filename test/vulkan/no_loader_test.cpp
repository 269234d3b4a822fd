// volk finds the loader by dlopen; this program's own dlopen knows no library at all.
#include <cstring>

#include "runtime/base/error.h"
#include "runtime/vulkan/instance.h"
#include "test/support/catch.h"

extern "C" void* dlopen(const char*, int) { return nullptr; }

TEST_CASE("without a Vulkan loader the answer is one sentence and the device exit code") {
  try {
    pocket::Instance instance;
    FAIL("an instance without a loader");
  } catch (const pocket::Error& error) {
    CHECK(error.code == pocket::ExitCode::device);
    CHECK(std::strstr(error.what(), "loader") != nullptr);
  }
}
