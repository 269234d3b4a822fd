// Token ids from the command line and from files.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace pocket::bench {

// "1,2,3", or a file that holds [1,2,3] or {"tokens": [1,2,3]}. Throws Error(usage) for a list that
// is none and Error(bad_input) for a file; ids must lie in [0, vocab).
std::vector<int32_t> read_tokens(const std::string& list_or_file, int64_t vocab);

// The token windows of a JSON file: a flat array is one list, an array of arrays is one window
// each.
struct TokenWindows {
  bool windowed = false;  // the file held an array of arrays
  std::vector<std::vector<int32_t>> lists;
};
TokenWindows read_token_windows(const std::string& path, int64_t vocab);

// A whole file. Throws Error(bad_input) with the path and the system's reason.
std::string read_text_file(const std::string& path);

// The same ids on every machine: a fixed sequence for measurements without a text.
std::vector<int32_t> measuring_tokens(int64_t count, int64_t vocab);

}  // namespace pocket::bench
