// The program llmbench over a tiny random model.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "test/support/command.h"
#include "test/support/tiny_model.h"

namespace pocket::test {

CommandResult llmbench(const std::vector<std::string>& arguments,
                       const std::string& environment = "");

// Runs it with --json - and parses what it printed; throws with its stderr unless it ended in 0.
nlohmann::json llmbench_json(std::vector<std::string> arguments,
                             const std::string& environment = "");

// A tiny model in a folder that goes away with it.
class TinyFile {
 public:
  explicit TinyFile(const TinyOptions& options = {});
  const std::string& path() const { return path_; }
  const TemporaryFolder& folder() const { return folder_; }

 private:
  TemporaryFolder folder_;
  std::string path_;
};

}  // namespace pocket::test
