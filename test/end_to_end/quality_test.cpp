// What 4 bits cost on the bundled model, in perplexity and in bytes.
#include <cmath>
#include <cstdio>

#include "test/end_to_end/pipeline.h"
#include "test/support/catch.h"

namespace pocket::test {
namespace {

double perplexity(const std::string& pocket, const std::vector<std::string>& options = {},
                  const std::string& text = model_folder(kBundledModel) + "/heldout.txt") {
  std::vector<std::string> arguments = {"perplexity", pocket, "--text", text, "--json", "-"};
  arguments.insert(arguments.end(), options.begin(), options.end());
  return nlohmann::json::parse(bench(arguments)).at("perplexity").get<double>();
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

TEST_CASE("any precision: one file, and the perplexity falls with the bits that a run reads") {
  const TemporaryFolder folder;
  const std::string pocket = folder / "any.pocket", text = folder / "text.txt";
  const std::string all = read_file(model_folder(kBundledModel) + "/heldout.txt");
  write_file(text, all.substr(0, 3000));
  convert({model_folder(kBundledModel), "-o", pocket, "--weights", "any", "--bits", "4,3,2",
           "--quiet"});
  const nlohmann::json document = nlohmann::json::parse(bench({"inspect", pocket, "--json", "-"}));
  int matrices = 0;
  for (const nlohmann::json& weight : document.at("weights")) {
    if (weight.at("encoding") != "any") continue;
    ++matrices;
    CHECK(weight.at("bits") == nlohmann::json({2, 3, 4}));
    const int64_t rows = weight.at("rows").get<int64_t>();
    const int64_t padded = (weight.at("columns").get<int64_t>() + 31) / 32 * 32;
    CHECK(weight.at("bytes").get<int64_t>() == rows * (4 * padded / 8 + 2 * (4 + 8 + 16)));
  }
  CHECK(matrices > 0);
  const double four = perplexity(pocket, {"--precision", "4"}, text);
  const double three = perplexity(pocket, {"--precision", "3"}, text);
  const double two = perplexity(pocket, {"--precision", "2"}, text);
  std::printf("any precision: perplexity %.2f at 4 bits, %.2f at 3, %.2f at 2\n", four, three, two);
  CHECK(perplexity(pocket, {}, text) == four);
  CHECK(four < three);
  CHECK(three < two);
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
