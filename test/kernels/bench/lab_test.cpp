// The kernel lab as a program: what it prints, and that a wrong configuration is not timed.
#include <nlohmann/json.hpp>

#include "test/support/catch.h"
#include "test/support/command.h"
#include "test/support/schema.h"

namespace pocket::test {
namespace {

CommandResult lab(std::vector<std::string> words) {
  words.insert(words.begin(), std::string(POCKET_BINARY_DIR) + "/pocket_kernel_lab");
  return run_command(words);
}

}  // namespace

TEST_CASE("the kernel lab checks and times what the table chooses and what is asked for") {
  const std::vector<std::string> work = {"--rows",     "64",   "--columns", "96", "--tokens", "1,9",
                                         "--encoding", "m0e4,w8a8", "-r",   "1",  "--json",   "-"};
  const std::vector<std::string> plain = {"--lanes", "32", "--tile-rows", "2"};
  for (const bool chosen : {true, false}) {
    std::vector<std::string> words = work;
    if (!chosen) words.insert(words.end(), plain.begin(), plain.end());
    const CommandResult result = lab(words);
    CAPTURE(chosen, result.err);
    REQUIRE(result.exit_code == 0);
    const nlohmann::json document = nlohmann::json::parse(result.out);
    REQUIRE(schema_errors("kernel_lab", document) == "");
    REQUIRE(document["peaks"]["fp32_operations_per_second"] == 0.0);  // not asked for
    REQUIRE(document["runs"].size() == 4);
    for (const nlohmann::json& run : document["runs"]) {
      REQUIRE(run["results"].size() == 1);
      const nlohmann::json& entry = run["results"][0];
      CAPTURE(entry.dump());
      REQUIRE(entry["correct"] == true);
      REQUIRE(entry["cpu_seconds"].get<double>() > 0);
      REQUIRE(entry["chosen"] == chosen);
      if (!chosen) REQUIRE(entry["lanes"] == 32);
    }
  }
}

TEST_CASE("the kernel lab refuses what it cannot run") {
  REQUIRE(lab({"--encoding", "q9"}).exit_code == 2);
  REQUIRE(lab({"--tokens", "0"}).exit_code == 2);
}

TEST_CASE("the kernel lab runs the row that was asked for or says why not") {
  const std::vector<std::vector<std::string>> rows = {
      {"--columns", "96", "--lanes", "32", "--tile-rows", "3"},         // odd
      {"--columns", "96", "--lanes", "1048576", "--tile-rows", "2"},    // invocations
      {"--columns", "96", "--lanes", "64", "--tile-rows", "2", "--splits", "4194303"},  // both
      {"--columns", "98", "--lanes", "8", "--tile-rows", "2", "--texels"},  // no whole texels
  };
  for (const std::vector<std::string>& row : rows) {
    std::vector<std::string> words = {"--rows", "64", "-r", "1"};
    words.insert(words.end(), row.begin(), row.end());
    const CommandResult result = lab(words);
    CAPTURE(row, result.out, result.err);
    REQUIRE(result.exit_code == 2);
    REQUIRE(result.out.empty());
    REQUIRE(result.err.find("is not valid for gemv m0e4 64 x 9") != std::string::npos);
    REQUIRE(result.err.find("(limit ") != std::string::npos);
  }
}

TEST_CASE("the kernel lab gives shares of peaks that it has measured") {
  const CommandResult result = lab({"--rows", "64", "--columns", "96", "--tokens", "9", "-r", "1",
                                    "--peaks", "--json", "-"});
  CAPTURE(result.err);
  REQUIRE(result.exit_code == 0);
  const nlohmann::json document = nlohmann::json::parse(result.out);
  REQUIRE(schema_errors("kernel_lab", document) == "");
  const double peak = document["peaks"]["fp32_operations_per_second"];
  REQUIRE(peak > 0);
  REQUIRE(document["peaks"]["read_bytes_per_second"] > 0);
  const nlohmann::json& entry = document["runs"][0]["results"][0];
  const double flops =
      entry["flops_per_cpu_second"].get<double>() * entry["cpu_seconds"].get<double>();
  REQUIRE(flops == Approx(2.0 * 9 * 64 * 96));
  REQUIRE(entry["share_of_fp32_peak"].get<double>() ==
          Approx(flops / entry["wall_seconds"].get<double>() / peak));
}

}  // namespace pocket::test
