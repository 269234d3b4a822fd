// The windows of token ids that calibration runs over, from a text or a token file.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace pocket {

struct CalibrationWindows {
  std::vector<std::vector<int64_t>> windows;  // each a sequence of its own
  size_t held_out = 0;                        // the last ones: errors are measured on them
  int64_t tokens = 0;                         // of all windows
};

inline constexpr int64_t kCalibrationWindow = 512;
inline constexpr int64_t kCalibrationTokens = 64 * kCalibrationWindow;

// A .json file holds ids, flat or one array a window; any other file is a text, for which
// `tokenizer_json` is needed. At most about `tokens` ids are taken, in windows of `context` or 512
// ids that are spread evenly over the file. Throws Error(bad_input) when the file cannot be read,
// Error(usage) for a text when there is no tokenizer.
std::vector<std::vector<int64_t>> read_windows(const std::string& path,
                                               const std::string& tokenizer_json,
                                               const std::string& tokenizer_config_json,
                                               int64_t vocab, int64_t context, int64_t tokens);

// The same, with an eighth of the windows, if there are two or more, held out. Throws
// Error(bad_input) also when the file holds no token.
CalibrationWindows read_calibration(const std::string& path, const std::string& tokenizer_json,
                                    const std::string& tokenizer_config_json, int64_t vocab,
                                    int64_t context, int64_t tokens);

}  // namespace pocket
