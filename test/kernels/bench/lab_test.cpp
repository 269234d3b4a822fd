// The kernel lab as a program: what it prints, and that a wrong configuration is not timed.
#include <nlohmann/json.hpp>

#include "test/support/catch.h"
#include "test/support/command.h"

namespace pocket::test {
namespace {

CommandResult lab(std::vector<std::string> words) {
  words.insert(words.begin(), std::string(POCKET_BINARY_DIR) + "/pocket_kernel_lab");
  return run_command(words);
}

}  // namespace

TEST_CASE("the kernel lab checks and times what the table chooses and what is asked for") {
  const std::vector<std::string> work = {"--rows",     "64",   "--columns", "96", "--tokens", "1,9",
                                         "--encoding", "m0e4", "-r",        "1",  "--json",   "-"};
  const std::vector<std::string> plain = {"--lanes", "32", "--tile-rows", "2"};
  for (const bool chosen : {true, false}) {
    std::vector<std::string> words = work;
    if (!chosen) words.insert(words.end(), plain.begin(), plain.end());
    const CommandResult result = lab(words);
    CAPTURE(chosen, result.err);
    REQUIRE(result.exit_code == 0);
    const nlohmann::json document = nlohmann::json::parse(result.out);
    REQUIRE(document["schema"] == "pocketformer-kernel-lab");
    REQUIRE(document["runs"].size() == 2);
    for (const nlohmann::json& run : document["runs"]) {
      REQUIRE(run["results"].size() == 1);
      const nlohmann::json& entry = run["results"][0];
      CAPTURE(entry.dump());
      REQUIRE(entry["correct"] == true);
      REQUIRE(entry["cpu_seconds"].get<double>() > 0);
      if (!chosen) REQUIRE(entry["lanes"] == 32);
    }
  }
}

TEST_CASE("the kernel lab refuses what it cannot run") {
  REQUIRE(lab({"--encoding", "q9"}).exit_code == 2);
  REQUIRE(lab({"--tokens", "0"}).exit_code == 2);
}

}  // namespace pocket::test
