// What 4 bits cost on the bundled model, in perplexity and in bytes.
#include <cmath>
#include <cstdio>

#include "test/end_to_end/pipeline.h"
#include "test/support/catch.h"

namespace pocket::test {
namespace {

double perplexity(const std::string& pocket) {
  const std::string text = bench({"perplexity", pocket, "--text",
                                  model_folder(kBundledModel) + "/heldout.txt", "--json", "-"});
  return nlohmann::json::parse(text).at("perplexity").get<double>();
}

}  // namespace

TEST_CASE("perplexity of the bundled model: f16 equals PyTorch, m0e4 costs at most 6 percent") {
  const TemporaryFolder folder;
  convert({model_folder(kBundledModel), "-o", folder / "f16.pocket", "--weights", "f16", "--quiet"});
  convert({model_folder(kBundledModel), "-o", folder / "m0e4.pocket", "--weights", "m0e4",
           "--group-size", "32", "--quiet"});
  const double torch = read_golden(model_folder(kBundledModel))
                           .json.at("perplexity").at("perplexity").get<double>();
  const double f16 = perplexity(folder / "f16.pocket");
  const double m0e4 = perplexity(folder / "m0e4.pocket");
  std::printf("perplexity: PyTorch float32 %.4f, f16 %.4f, m0e4 group 32 %.4f (%+.2f %%)\n", torch,
              f16, m0e4, 100 * (m0e4 / f16 - 1));
  CHECK(std::abs(f16 / torch - 1) < 2e-3);
  CHECK(m0e4 / f16 - 1 < 0.06);
}

TEST_CASE("m0e4 file: weight sections are exactly codes and pairs, the rest is small") {
  const TemporaryFolder folder;
  const std::string pocket = folder / "m0e4.pocket";
  convert({model_folder(kBundledModel), "-o", pocket, "--weights", "m0e4", "--group-size", "32",
           "--quiet"});
  const nlohmann::json document = nlohmann::json::parse(bench({"inspect", pocket, "--json", "-"}));
  int64_t weights = 0;
  int matrices = 0;
  for (const nlohmann::json& weight : document.at("weights")) {
    const int64_t bytes = weight.at("bytes").get<int64_t>();
    weights += bytes;
    if (weight.at("encoding") != "m0e4") continue;
    ++matrices;
    const int64_t rows = weight.at("rows").get<int64_t>();
    const int64_t columns = weight.at("columns").get<int64_t>();
    const int64_t groups = (columns + 31) / 32;
    CHECK(bytes == rows * (groups * 32 / 2 + groups * 4));
  }
  CHECK(matrices > 0);
  const auto file = static_cast<int64_t>(std::filesystem::file_size(pocket));
  const int64_t tokenizer = document.at("file").at("tokenizer_bytes").get<int64_t>();
  std::printf("m0e4 file %lld bytes: weights %lld, tokenizer %lld, everything else %lld\n",
              static_cast<long long>(file), static_cast<long long>(weights),
              static_cast<long long>(tokenizer), static_cast<long long>(file - weights - tokenizer));
  CHECK(file - weights - tokenizer <= 96 * 1024);
  CHECK(document.at("file").at("bytes").get<int64_t>() == file);
}

}  // namespace pocket::test
