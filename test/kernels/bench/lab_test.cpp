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

TEST_CASE("the baseline that converts codes computes what int4 is, beside the others") {
  struct Form {
    const char* shader;
    std::vector<std::string> words;
  };
  const std::vector<std::string> plain = {"--lanes", "32", "--tile-rows", "2", "--subgroup"};
  std::vector<std::string> half = plain;
  half.push_back("--fp16");
  for (const Form& form : {Form{"_tx", {"--lanes", "8", "--tile-rows", "8", "--texels"}},
                           Form{"_sg", plain}, Form{"_half_sg", half}}) {
    for (const auto& [rows, columns] : {std::pair{"105", "100"}, std::pair{"257", "160"}}) {
      std::vector<std::string> words = {"--rows",     rows,  "--columns", columns,
                                        "--group",    "64",  "-r",        "1",
                                        "--encoding", "int4,int4-convert", "--interleave",
                                        "--json",     "-"};
      words.insert(words.end(), form.words.begin(), form.words.end());
      const CommandResult result = lab(words);
      CAPTURE(form.shader, rows, result.err);
      REQUIRE(result.exit_code == 0);
      const nlohmann::json document = nlohmann::json::parse(result.out);
      REQUIRE(schema_errors("kernel_lab", document) == "");
      REQUIRE(document["runs"].size() == 2);
      for (const bool convert : {false, true}) {
        const nlohmann::json& run = document["runs"][convert ? 1 : 0];
        const nlohmann::json& entry = run["results"][0];
        const std::string codes = convert ? "gemv_int4_convert" : "gemv_int4";
        REQUIRE(run["encoding"] == (convert ? "int4-convert" : "int4"));
        REQUIRE(entry["shader"] == codes + form.shader);
        REQUIRE(entry["correct"] == true);
        if (form.words.back() != "--fp16") REQUIRE(entry["error"].get<double>() < 1e-5);
        REQUIRE(entry["wall_seconds"].get<double>() > 0);
      }
    }
  }
  REQUIRE(lab({"--encoding", "int4-convert", "--tokens", "2"}).exit_code == 2);
  REQUIRE(lab({"--encoding", "int4-convert", "--gated"}).exit_code == 2);
}

TEST_CASE("the kernel lab times attention and norms") {
  const std::vector<std::vector<std::string>> works = {
      {"--kernel", "attention", "--heads", "6", "--kv-heads", "3", "--head-dim", "32",
       "--context", "40", "--tokens", "1,9"},
      {"--kernel", "norm", "--columns", "105", "--tokens", "1,5"}};
  for (const std::vector<std::string>& work : works) {
    std::vector<std::string> words = {"-r", "1", "--json", "-"};
    words.insert(words.end(), work.begin(), work.end());
    const CommandResult result = lab(words);
    CAPTURE(work, result.err);
    REQUIRE(result.exit_code == 0);
    const nlohmann::json document = nlohmann::json::parse(result.out);
    REQUIRE(schema_errors("kernel_lab", document) == "");
    REQUIRE(document["runs"].size() == 2);
    for (const nlohmann::json& run : document["runs"]) {
      const nlohmann::json& entry = run["results"][0];
      CAPTURE(run.dump());
      REQUIRE(run["subject"] == work[1]);
      REQUIRE(entry["correct"] == true);
      REQUIRE(entry["error"].get<double>() < 1e-5);
      REQUIRE(entry["cpu_seconds"].get<double>() > 0);
    }
  }
  const CommandResult refused = lab({"--kernel", "attention", "--head-dim", "64", "--lanes", "12"});
  REQUIRE(refused.exit_code == 2);
  REQUIRE(refused.err.find("is not valid for attention_decode") != std::string::npos);
}

TEST_CASE("the kernel lab refuses what it cannot run") {
  REQUIRE(lab({"--encoding", "q9"}).exit_code == 2);
  REQUIRE(lab({"--tokens", "0"}).exit_code == 2);
  REQUIRE(lab({"--kernel", "sampler"}).exit_code == 2);
  REQUIRE(lab({"--kernel", "attention", "--heads", "5", "--kv-heads", "2"}).exit_code == 2);
  REQUIRE(lab({"--kernel", "attention", "--context", "4", "--tokens", "5"}).exit_code == 2);
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
