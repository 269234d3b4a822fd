// The binary under test and what its tests share.
#pragma once

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "test/support/command.h"

namespace pocket::test {

inline CommandResult llmconvert(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), POCKET_BINARY_DIR "/llmconvert");
  return run_command(arguments);
}

inline std::string model_folder(const std::string& name) {
  return std::string(POCKET_SOURCE_DIR) + "/models/" + name;
}

// A copy of a bundled model's folder that a test may damage.
inline std::string copy_model(const TemporaryFolder& folder, const std::string& name) {
  std::filesystem::copy(model_folder(name), folder / name);
  return folder / name;
}

inline bool one_line(const std::string& text) {
  return !text.empty() && text.back() == '\n' && std::count(text.begin(), text.end(), '\n') == 1;
}

inline size_t files_in(const TemporaryFolder& folder) {
  const auto begin = std::filesystem::directory_iterator(folder.path());
  return static_cast<size_t>(std::distance(begin, std::filesystem::directory_iterator()));
}

}  // namespace pocket::test
