// The programs as a person uses them: text out of a prompt, the same text twice, a verdict in JSON.

#include "test/end_to_end/pipeline.h"
#include "test/support/catch.h"

namespace pocket::test {

TEST_CASE("generate continues a prompt, repeats itself with a seed, and differs without") {
  const TemporaryFolder folder;
  const std::string pocket = folder / "model.pocket";
  convert({model_folder(kBundledModel), "-o", pocket, "--quiet"});
  const std::string prompt = "Once upon a time";
  const auto generate = [&](const std::string& seed) {
    return bench({"generate", pocket, "--prompt", prompt, "-n", "48", "--temperature", "0.9",
                  "--top-k", "40", "--top-p", "0.95", "--seed", seed});
  };
  const std::string first = generate("1");
  CHECK(first.size() > 48);
  CHECK(first == generate("1"));
  CHECK(first != generate("2"));
}

TEST_CASE("two runs of the benchmark give equal logits hashes") {
  const TemporaryFolder folder;
  const std::string pocket = folder / "model.pocket";
  convert({model_folder(kBundledModel), "-o", pocket, "--quiet"});
  const auto hash = [&] {
    const nlohmann::json report = nlohmann::json::parse(
        bench({"run", pocket, "-p", "16", "-n", "8", "-r", "2", "--json", "-"}));
    return report.at("logits_hash").get<std::string>();
  };
  const std::string first = hash();
  CHECK(first.size() == 16);
  CHECK(first == hash());
}

}  // namespace pocket::test
