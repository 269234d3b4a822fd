#include "test/end_to_end/pipeline.h"


#include <algorithm>
#include <cmath>
#include <cstring>

#include "test/support/catch.h"

namespace pocket::test {
namespace {

std::string run_program(const char* program, const std::vector<std::string>& arguments) {
  std::vector<std::string> words = {std::string(POCKET_BINARY_DIR "/") + program};
  words.insert(words.end(), arguments.begin(), arguments.end());
  const CommandResult result = run_command(words);
  INFO(program << " " << (arguments.empty() ? "" : arguments[0]) << ": " << result.err);
  REQUIRE(result.exit_code == 0);
  return result.out;
}

}  // namespace

std::string model_folder(const std::string& name) { return POCKET_SOURCE_DIR "/models/" + name; }

std::string convert(const std::vector<std::string>& arguments) {
  return run_program("llmconvert", arguments);
}

std::string bench(const std::vector<std::string>& arguments) {
  return run_program("llmbench", arguments);
}

Golden read_golden(const std::string& folder) {
  Golden golden;
  golden.json = nlohmann::json::parse(read_file(folder + "/golden.json"));
  golden.tokens = golden.json.at("prompt").get<std::vector<int32_t>>();
  golden.prompt = golden.tokens.size();
  const auto continuation = golden.json.at("continuation").get<std::vector<int32_t>>();
  golden.tokens.insert(golden.tokens.end(), continuation.begin(), continuation.end());
  golden.vocab = golden.json.at("vocab").get<size_t>();
  const std::string bytes =
      read_file(folder + "/" + golden.json.at("logits_file").get<std::string>());
  REQUIRE(bytes.size() == golden.tokens.size() * golden.vocab * sizeof(float));
  golden.logits.resize(bytes.size() / sizeof(float));
  std::memcpy(golden.logits.data(), bytes.data(), bytes.size());
  const nlohmann::json& greedy = golden.json.at("greedy");
  golden.greedy_prompt = greedy.at("prompt").get<std::vector<int32_t>>();
  golden.greedy = greedy.at("tokens").get<std::vector<int32_t>>();
  golden.margins = greedy.at("margins").get<std::vector<float>>();
  return golden;
}

std::vector<float> logits(const std::string& pocket, const std::vector<int32_t>& tokens,
                          size_t prefill) {
  const TemporaryFolder folder;
  write_file(folder / "tokens.json", nlohmann::json(tokens).dump());
  const std::string text = bench({"logits", pocket, "--tokens", folder / "tokens.json",
                                  "--decode-from", std::to_string(prefill), "--json", "-"});
  const nlohmann::json document = nlohmann::json::parse(text);
  REQUIRE(document.at("tokens").get<std::vector<int32_t>>() == tokens);
  std::vector<float> rows;
  for (const nlohmann::json& row : document.at("logits")) {
    for (const nlohmann::json& value : row) rows.push_back(value.get<float>());
  }
  return rows;
}

double relative_l2(const float* actual, const float* expected, size_t count) {
  double error = 0, norm = 0;
  for (size_t i = 0; i < count; ++i) {
    const double difference = static_cast<double>(actual[i]) - static_cast<double>(expected[i]);
    error += difference * difference;
    norm += static_cast<double>(expected[i]) * static_cast<double>(expected[i]);
  }
  return std::sqrt(error / norm);
}

size_t arg_max(const float* row, size_t count) {
  return static_cast<size_t>(std::max_element(row, row + count) - row);
}

std::string join(const std::vector<int32_t>& tokens) {
  std::string text;
  for (const int32_t token : tokens) text += (text.empty() ? "" : ",") + std::to_string(token);
  return text;
}

}  // namespace pocket::test
