// Every structure: the exports bundled in models/, and the zoo of structures and export forms that
// scripts/make_zoo.py, zoo_quant.py, zoo_dynamo.py and zoo_genai.py regenerate.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "test/end_to_end/pipeline.h"
#include "test/support/catch.h"

namespace pocket::test {
namespace {

constexpr double kTolerance = 5e-3;   // relative L2 error of a row of logits at f16
constexpr const char* kChunk = "20";  // divides neither the prompt of 64 nor any window

// Rows of `llmbench logits`: the prompt in chunks of kChunk, then one token at a time.
std::vector<float> chunked_logits(const std::string& pocket, const Golden& golden) {
  const std::string text =
      bench({"logits", pocket, "--tokens", join(golden.tokens), "--decode-from",
             std::to_string(golden.prompt), "--chunk", kChunk, "--json", "-"});
  std::vector<float> rows;
  const nlohmann::json document = nlohmann::json::parse(text);
  for (const nlohmann::json& row : document.at("logits")) {
    for (const nlohmann::json& value : row) rows.push_back(value.get<float>());
  }
  return rows;
}

double worst_row(const std::vector<float>& actual, const Golden& golden) {
  REQUIRE(actual.size() == golden.logits.size());
  double worst = 0;
  for (size_t at = 0; at < actual.size(); at += golden.vocab) {
    const double error = relative_l2(&actual[at], &golden.logits[at], golden.vocab);
    REQUIRE(error == error);  // a NaN would hide behind max()
    worst = std::max(worst, error);
  }
  return worst;
}

// Converts `model` (a folder or a .onnx file) and compares every row with the golden rows in
// `folder`: prompt in one prefill and in chunks, each followed by decode steps.
void check_against_golden(const std::string& name, const std::string& model,
                          const std::string& folder) {
  INFO(name);
  const TemporaryFolder work;
  const std::string pocket = work / "model.pocket";
  convert({model, "-o", pocket, "--weights", "f16", "--quiet"});
  const Golden golden = read_golden(folder);
  REQUIRE(golden.prompt > 0);
  REQUIRE(golden.tokens.size() > golden.prompt);
  const double whole = worst_row(logits(pocket, golden.tokens, golden.prompt), golden);
  const double chunked = worst_row(chunked_logits(pocket, golden), golden);
  std::printf("%s: worst relative L2 error %.2e, prompt in chunks %.2e\n", name.c_str(), whole,
              chunked);
  CHECK(whole <= kTolerance);
  CHECK(chunked <= kTolerance);
}

// A graph that was exported without its cache may be refused, in a sentence that says what to
// export.
bool refused_without_cache(const nlohmann::json& entry, const std::string& model) {
  if (entry.at("form") != "no-kv") return false;
  const TemporaryFolder work;
  const CommandResult result =
      run_command({POCKET_BINARY_DIR "/llmconvert", model, "-o", work / "model.pocket", "--quiet"});
  if (result.exit_code == 0) return false;
  CHECK(result.exit_code == 3);
  CHECK(result.err.find("text-generation-with-past") != std::string::npos);
  return true;
}

}  // namespace

TEST_CASE("f16 logits of every bundled structure equal PyTorch's, whole prompt and chunks") {
  const std::string name = GENERATE(as<std::string>{}, "tiny-qwen3", "tiny-gemma2", "tiny-gemma3",
                                    "tiny-phi", "tiny-phi3-long", "tiny-bloom", "tiny-falcon",
                                    "tiny-glm", "tiny-chatglm2", "tiny-cohere");
  check_against_golden(name, model_folder(name), model_folder(name));
}

// The structure that the house was tested with: converted without a line written for it. Its
// projections of q, v and k (in this order) are merged in four blocks.
TEST_CASE("f16 logits of a structure that nothing was written for equal PyTorch's") {
  check_against_golden("tiny-codegen", model_folder("tiny-codegen"), model_folder("tiny-codegen"));
}

TEST_CASE("f16 logits of every structure and export form of the zoo") {
  const char* zoo = std::getenv("POCKET_ZOO");
  if (zoo == nullptr)
    SKIP("POCKET_ZOO is not set: give the folder that scripts/make_zoo.py filled");
  const std::string root = zoo;
  const nlohmann::json index = nlohmann::json::parse(read_file(root + "/index.json"));
  size_t compared = 0;
  for (const nlohmann::json& entry : index.at("entries")) {
    if (!entry.contains("path")) continue;  // the tool's error stands in its place
    const std::string path = entry.at("path").get<std::string>();
    const std::string folder = root + "/" + path;
    const std::string file = entry.at("file").get<std::string>();
    const std::string model = file == "model.onnx" ? folder : folder + "/" + file;
    DYNAMIC_SECTION(path) {
      if (refused_without_cache(entry, model)) continue;
      check_against_golden(path, model, folder);
    }
    ++compared;
  }
  CHECK(compared > 0);
}

}  // namespace pocket::test
