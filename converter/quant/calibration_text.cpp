#include "converter/quant/calibration_text.h"

#include <algorithm>

#include "runtime/base/error.h"
#include "runtime/bench/tokens.h"
#include "runtime/text/tokenizer.h"

namespace pocket {
namespace {

using Ids = std::vector<int32_t>;

// Windows of `length` ids whose starts are spread evenly over the list.
std::vector<Ids> cut(const Ids& ids, int64_t length, int64_t tokens) {
  const auto size = static_cast<int64_t>(ids.size());
  const int64_t wanted = std::min(size, tokens);
  const bool all = wanted == size;
  const int64_t count = all ? (size + length - 1) / length : std::max<int64_t>(1, wanted / length);
  std::vector<Ids> windows;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t first = all || count == 1 ? i * length : i * (size - length) / (count - 1);
    const int64_t last = std::min(first + std::min(length, wanted), size);
    windows.emplace_back(ids.begin() + first, ids.begin() + last);
  }
  return windows;
}

// Given windows, evenly spread over the file, until they hold enough.
std::vector<Ids> select(std::vector<Ids> given, int64_t length, int64_t tokens) {
  int64_t all = 0;
  std::erase_if(given, [](const Ids& window) { return window.empty(); });
  for (Ids& window : given) {
    window.resize(std::min(window.size(), static_cast<size_t>(length)));
    all += static_cast<int64_t>(window.size());
  }
  if (all <= tokens) return given;
  const auto size = static_cast<int64_t>(given.size());
  const int64_t count = std::max<int64_t>(1, size * tokens / all);
  std::vector<Ids> windows;
  for (int64_t i = 0; i < count; ++i) windows.push_back(given[static_cast<size_t>(i * size / count)]);
  return windows;
}

}  // namespace

std::vector<std::vector<int64_t>> read_windows(const std::string& path,
                                               const std::string& tokenizer_json,
                                               const std::string& tokenizer_config_json,
                                               int64_t vocab, int64_t context, int64_t tokens) {
  const int64_t length = std::min(context, kCalibrationWindow);
  std::vector<Ids> windows;
  if (path.ends_with(".json")) {
    bench::TokenWindows given = bench::read_token_windows(path, vocab);
    windows = given.windowed ? select(std::move(given.lists), length, tokens)
                             : cut(given.lists.front(), length, tokens);
  } else {
    if (tokenizer_json.empty()) {
      throw Error(ExitCode::usage,
                  "There is no tokenizer.json beside the model, so the text '" + path +
                      "' cannot be read: give a .json file of token ids instead.");
    }
    const Tokenizer tokenizer = Tokenizer::from_json(tokenizer_json, tokenizer_config_json);
    const std::string text = bench::read_text_file(path);
    windows = cut(text.empty() ? Ids{} : tokenizer.encode(text), length, tokens);
  }
  std::vector<std::vector<int64_t>> out;
  for (const Ids& window : windows) out.emplace_back(window.begin(), window.end());
  return out;
}

CalibrationWindows read_calibration(const std::string& path, const std::string& tokenizer_json,
                                    const std::string& tokenizer_config_json, int64_t vocab,
                                    int64_t context, int64_t tokens) {
  CalibrationWindows out;
  out.windows = read_windows(path, tokenizer_json, tokenizer_config_json, vocab, context, tokens);
  for (const auto& window : out.windows) out.tokens += static_cast<int64_t>(window.size());
  if (out.tokens == 0) {
    throw Error(ExitCode::bad_input, "The calibration file '" + path +
                                         "' holds no token: give a longer text, or use --method "
                                         "rtn, which needs none.");
  }
  if (out.windows.size() > 1) out.held_out = std::max<size_t>(1, out.windows.size() / 8);
  return out;
}

}  // namespace pocket
