// Weights f16 against PyTorch float32, for every export in models/ (issue: prefill of 64, then 32
// decode steps; teacher-forced and free-running greedy text).
#include <algorithm>
#include <cstdio>

#include "test/end_to_end/pipeline.h"
#include "test/support/catch.h"

namespace pocket::test {
namespace {

constexpr double kTolerance = 5e-3;  // relative L2 error of a row of logits at f16
constexpr float kMargin = 0.05f;     // below this the float model itself is undecided

}  // namespace

TEST_CASE("f16 logits and greedy ids equal PyTorch's") {
  const std::string name = GENERATE(std::string(kBundledModel), std::string("tiny-gpt2"),
                                    std::string("tiny-qwen2"),
                                    std::string("tiny-qwen2-fp16-external"));
  INFO(name);
  const TemporaryFolder folder;
  const std::string pocket = folder / "model.pocket";
  convert({model_folder(name), "-o", pocket, "--weights", "f16", "--quiet"});
  const Golden golden = read_golden(model_folder(name));

  SECTION("every row of prefill and decode") {
    REQUIRE(golden.prompt == 64);
    REQUIRE(golden.tokens.size() == 96);
    const std::vector<float> actual = logits(pocket, golden.tokens, golden.prompt);
    REQUIRE(actual.size() == golden.logits.size());
    double worst = 0;
    for (size_t row = 0; row < golden.tokens.size(); ++row) {
      const size_t at = row * golden.vocab;
      worst = std::max(worst, relative_l2(&actual[at], &golden.logits[at], golden.vocab));
    }
    std::printf("%s: worst relative L2 error of %zu rows %.2e\n", name.c_str(),
                golden.tokens.size(), worst);
    CHECK(worst <= kTolerance);
  }

  SECTION("teacher-forced on PyTorch's greedy ids") {
    std::vector<int32_t> tokens = golden.greedy_prompt;
    tokens.insert(tokens.end(), golden.greedy.begin(), golden.greedy.end() - 1);
    const std::vector<float> actual = logits(pocket, tokens, golden.greedy_prompt.size());
    size_t decided = 0;
    for (size_t i = 0; i < golden.greedy.size(); ++i) {
      if (golden.margins[i] <= kMargin) continue;
      ++decided;
      const size_t row = golden.greedy_prompt.size() - 1 + i;
      CHECK(arg_max(&actual[row * golden.vocab], golden.vocab) ==
            static_cast<size_t>(golden.greedy[i]));
    }
    std::printf("%s: arg-max equal at %zu of %zu positions with a margin over %.2f\n",
                name.c_str(), decided, golden.greedy.size(), static_cast<double>(kMargin));
    CHECK(decided >= (name == kBundledModel ? 55u : 40u));
  }

  SECTION("free-running up to the first undecided position") {
    const std::string text = bench({"generate", pocket, "--tokens", join(golden.greedy_prompt),
                                    "-n", std::to_string(golden.greedy.size()), "--json", "-"});
    const auto ids = nlohmann::json::parse(text).at("tokens").get<std::vector<int32_t>>();
    size_t compared = 0;
    while (compared < golden.greedy.size() && golden.margins[compared] > kMargin) {
      REQUIRE(compared < ids.size());
      CHECK(ids[compared] == golden.greedy[compared]);
      ++compared;
    }
    std::printf("%s: %zu greedy ids equal up to the first margin under %.2f\n", name.c_str(),
                compared, static_cast<double>(kMargin));
    CHECK(compared >= 25);
  }
}

}  // namespace pocket::test
