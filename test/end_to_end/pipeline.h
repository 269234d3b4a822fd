// The path from a model folder to results, through the command lines only.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "test/support/command.h"

namespace pocket::test {

std::string model_folder(const std::string& name);  // models/NAME of the source tree
inline const char* const kBundledModel = "folktale-2m";

// Runs one of the two programs and requires exit code 0; returns its stdout.
std::string convert(const std::vector<std::string>& arguments);
std::string bench(const std::vector<std::string>& arguments);

// What PyTorch said: models/NAME/golden.json and its logits.
struct Golden {
  std::vector<int32_t> tokens;         // prompt, then continuation
  size_t prompt = 0;                   // how many of them are the prompt
  size_t vocab = 0;
  std::vector<float> logits;           // [tokens, vocab]
  std::vector<int32_t> greedy_prompt;
  std::vector<int32_t> greedy;         // ids that PyTorch chose after it
  std::vector<float> margins;          // best minus second-best logit at each of them
  nlohmann::json json;
};
Golden read_golden(const std::string& folder);

// `llmbench logits`: [tokens, vocab]. The first `prefill` tokens go through prefill, the others one
// by one through decode.
std::vector<float> logits(const std::string& pocket, const std::vector<int32_t>& tokens,
                          size_t prefill);

double relative_l2(const float* actual, const float* expected, size_t count);
size_t arg_max(const float* row, size_t count);
std::string join(const std::vector<int32_t>& tokens);  // "1,2,3"

}  // namespace pocket::test
