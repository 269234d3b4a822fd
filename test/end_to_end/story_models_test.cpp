// Real trained models that somebody else made (stories260K, babyllama-tok105), against numbers of an
// independent implementation. `scripts/story_models.sh` exports them outside the project and runs
// this; without POCKET_STORY_MODELS it skips.
#include <cmath>
#include <cstdio>

#include "test/end_to_end/pipeline.h"
#include "test/support/catch.h"

namespace pocket::test {

TEST_CASE("story models: greedy ids and mean NLL equal the independent implementation's") {
  const char* exports = std::getenv("POCKET_STORY_MODELS");
  if (exports == nullptr) SKIP("POCKET_STORY_MODELS is not set: run scripts/story_models.sh");
  const std::string name = GENERATE(std::string("stories260K"), std::string("babyllama-tok105"));
  INFO(name);
  const std::string source = std::string(exports) + "/" + name;
  const auto expected = nlohmann::json::parse(read_file(source + "/expected.json"));
  const TemporaryFolder folder;
  const std::string pocket = folder / "model.pocket";
  convert({source, "-o", pocket, "--weights", "f16", "--quiet"});

  const auto ids = expected.at("greedy_ids").get<std::vector<int32_t>>();
  const auto prompt = expected.at("prompt_ids").get<std::vector<int32_t>>();
  const auto generated = nlohmann::json::parse(
      bench({"generate", pocket, "--tokens", join(prompt), "-n", std::to_string(ids.size()),
             "--json", "-"}));
  CHECK(generated.at("tokens").get<std::vector<int32_t>>() == ids);

  const auto measured = nlohmann::json::parse(
      bench({"perplexity", pocket, "--text", source + "/tokens.json", "--json", "-"}));
  const double nll = measured.at("nll").get<double>();
  const double mean_nll = expected.at("mean_nll").get<double>();
  std::printf("%s: %zu greedy ids equal, mean NLL %.4f against %.4f\n", name.c_str(), ids.size(),
              nll, mean_nll);
  CHECK(std::abs(nll / mean_nll - 1) < 0.01);
}

}  // namespace pocket::test
