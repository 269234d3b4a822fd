// The self-test on whole small models: passes as things are, and fails when something is planted.
#include "runtime/kernels/selftest.h"

#include <string>

#include "test/kernels/fixture.h"
#include "test/support/catch.h"
#include "test/support/command.h"
#include "test/support/tiny_model.h"

namespace pocket::test {
namespace {

SelftestResult run(const TinyOptions& model, const SelftestOptions& options) {
  const TemporaryFolder folder;
  const std::string path = (folder.path() / "tiny.pocket").string();
  write_tiny_model(model, path);
  const Package package = Package::open(path);
  return selftest(shared_device(), package, options);
}

}  // namespace

TEST_CASE("the self-test passes on whole models of both styles") {
  struct Format {
    Encoding encoding;
    int64_t group = 32;
  };
  constexpr Format kFormats[] = {{Encoding::f16}, {Encoding::m0e4}, {Encoding::m0e4, 16},
                                 {Encoding::int4, 16}, {Encoding::any}, {Encoding::w8a8}};
  for (const TinyStyle style : {TinyStyle::llama, TinyStyle::gpt2}) {
    for (const auto [encoding, group] : kFormats) {
      TinyOptions model;
      model.style = style;
      model.encoding = encoding;
      model.group = group;
      const SelftestResult result = run(model, {.repetitions = 2});
      CAPTURE(encoding_name(encoding), group, result.failure());
      REQUIRE(result.passed());
      REQUIRE(result.failure().empty());
      REQUIRE(result.entries.size() >= 12);
      bool gemv = false, gemm = false;
      for (const SelftestEntry& entry : result.entries) {
        REQUIRE(entry.runs == 2);
        REQUIRE_FALSE(entry.config.empty());
        // In front of an 8-bit kernel may stand what makes the codes of its input.
        const auto used = [&](const char* kernel) {
          return entry.kernel.find(kernel + std::string(encoding_name(encoding)) +
                                   (group == 16 ? "_g16" : "")) != std::string::npos;
        };
        gemv |= used("gemv_");
        gemm |= used("gemm_");
      }
      REQUIRE(gemv);
      REQUIRE(gemm);
    }
  }
}

TEST_CASE("the self-test names the kernel when a grid misses its last workgroup") {
  TinyOptions model;
  model.encoding = Encoding::m0e4;
  SelftestOptions options;
  options.repetitions = 1;
  options.plant = [](Dispatch& d) {
    if (d.shader.starts_with("gemv_m0e4") && d.groups[0] > 1) --d.groups[0];
  };
  const SelftestResult result = run(model, options);
  REQUIRE_FALSE(result.passed());
  REQUIRE(result.failure().find("gemv_m0e4") != std::string::npos);
  for (const SelftestEntry& entry : result.entries) {
    CAPTURE(entry.kernel);
    REQUIRE((entry.ok() || entry.kernel.starts_with("gemv_m0e4")));
  }
}

TEST_CASE("the self-test notices a tile of one row less than its grid was made for") {
  TinyOptions model;
  model.encoding = Encoding::m0e4;
  SelftestOptions options;
  options.repetitions = 1;
  options.plant = [](Dispatch& d) {
    const bool gated = d.shader.find("gated") != std::string::npos;
    if (d.shader.starts_with("gemm_m0e4") && !gated) --d.specialization.at(3);  // TOKENS
  };
  const SelftestResult result = run(model, options);
  REQUIRE_FALSE(result.passed());
  REQUIRE(result.failure().find("gemm_m0e4") != std::string::npos);
  for (const SelftestEntry& entry : result.entries) {
    CAPTURE(entry.kernel);
    REQUIRE((entry.ok() || entry.kernel.find("gemm_m0e4") != std::string::npos));
  }
}

TEST_CASE("the self-test notices activation sums over a column too few") {
  TinyOptions model;
  model.encoding = Encoding::m0e4;
  SelftestOptions options;
  options.repetitions = 1;
  options.plant = [](Dispatch& d) {
    if (d.shader == "group_sums") --d.push_constants.at(0);  // columns
  };
  const SelftestResult result = run(model, options);
  REQUIRE_FALSE(result.passed());
  REQUIRE(result.failure().find("group_sums + gemm_m0e4") != std::string::npos);
  for (const SelftestEntry& entry : result.entries) {
    CAPTURE(entry.kernel);
    REQUIRE((entry.ok() || entry.kernel.starts_with("group_sums")));
  }
}

TEST_CASE("the self-test notices an attention that ends one position too early") {
  SelftestOptions options;
  options.repetitions = 2;
  options.plant = [](Dispatch& d) {
    if (d.shader.starts_with("attention_decode")) --d.push_constants.at(3);  // the context
  };
  const SelftestResult result = run({}, options);
  REQUIRE_FALSE(result.passed());
  REQUIRE(result.failure().find("attention_decode") != std::string::npos);
}

}  // namespace pocket::test
