#include "test/bench/llmbench.h"

#include <stdexcept>

namespace pocket::test {

CommandResult llmbench(const std::vector<std::string>& arguments, const std::string& environment) {
  std::vector<std::string> words = {POCKET_BINARY_DIR "/llmbench"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  return run_command(words, environment);
}

nlohmann::json llmbench_json(std::vector<std::string> arguments, const std::string& environment) {
  arguments.insert(arguments.end(), {"--json", "-"});
  const CommandResult result = llmbench(arguments, environment);
  if (result.exit_code != 0) {
    throw std::runtime_error("llmbench ended with " + std::to_string(result.exit_code) + ": " +
                             result.err);
  }
  return nlohmann::json::parse(result.out);
}

TinyFile::TinyFile(const TinyOptions& options) : path_(folder_ / "tiny.pocket") {
  write_tiny_model(options, path_);
}

}  // namespace pocket::test
