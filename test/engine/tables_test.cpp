// Rotary tables and memory sums.
#include <cmath>

#include "runtime/base/error.h"
#include "runtime/engine/memory_sums.h"
#include "runtime/engine/rope.h"
#include "test/support/catch.h"

namespace pocket {

TEST_CASE("rotary tables hold cosines, then sines, right at late positions") {
  const RopeTable table = {{1.0, 0.1, 1e-4}, 1.5};
  const std::vector<float> values = compute_rope_table(table, 40000);
  REQUIRE(values.size() == 40000 * 6);
  CHECK(rope_table_bytes(table, 40000) == values.size() * 4);
  for (const size_t p : {size_t{0}, size_t{1}, size_t{39999}}) {
    for (size_t i = 0; i < 3; ++i) {
      const long double angle = static_cast<long double>(p) * table.inv_freq[i];
      CHECK(values[p * 6 + i] == Approx(static_cast<double>(std::cos(angle) * 1.5L)).margin(1e-7));
      CHECK(values[p * 6 + 3 + i] ==
            Approx(static_cast<double>(std::sin(angle) * 1.5L)).margin(1e-7));
    }
  }
  // In float the angle 39999 * 0.1 is off by more than 1e-4: the table must be better than that.
  CHECK(std::abs(static_cast<double>(values[39999 * 6 + 1]) - 1.5 * std::cos(39999 * 0.1)) < 2e-7);
}

TEST_CASE("a plan that does not fit is refused with its sums") {
  MemorySums sums;
  sums.weights = 3 << 20;
  sums.kv = 1 << 20;
  CHECK(sums.total() == 4u << 20);
  CHECK_NOTHROW(require_fit(sums, 4 << 20));
  try {
    require_fit(sums, (4 << 20) - 1);
    FAIL("accepted");
  } catch (const Error& error) {
    CHECK(error.code == ExitCode::out_of_memory);
    CHECK(std::string(error.what()).find("weights 3.00 MiB") != std::string::npos);
    CHECK(std::string(error.what()).find("= 4.00 MiB") != std::string::npos);
  }
}

}  // namespace pocket
