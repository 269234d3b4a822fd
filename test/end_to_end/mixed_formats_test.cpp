// Files whose weights differ in encoding and group size: what --target-bits and --head-weights make.
#include <cmath>
#include <cstdio>
#include <set>

#include "test/end_to_end/pipeline.h"
#include "test/support/catch.h"

namespace pocket::test {
namespace {

nlohmann::json read_json(const std::string& path) { return nlohmann::json::parse(read_file(path)); }

// Perplexity on the device against that of the host's floats, which llmconvert measured.
void check_perplexity(const std::string& pocket, const std::string& text,
                      const nlohmann::json& report) {
  const double host = report.at("quality").at("perplexity").get<double>();
  const double device = nlohmann::json::parse(bench({"perplexity", pocket, "--text", text, "--json", "-"}))
                            .at("perplexity")
                            .get<double>();
  INFO("host " << host << ", device " << device);
  CHECK(std::abs(device / host - 1) < 5e-3);
}

}  // namespace

TEST_CASE("target-bits: a file of several formats within its budget runs and is what was chosen") {
  const TemporaryFolder folder;
  const std::string pocket = folder / "mixed.pocket", report_path = folder / "report.json";
  const std::string text = folder / "ids.json";
  write_file(text, nlohmann::json(read_golden(model_folder(kBundledModel)).tokens).dump());
  const struct {
    double target;
    std::set<std::string> formats;
  } cases[] = {{4.8, {"m0e4 32", "m0e4 64"}}, {5.5, {"m0e4 32", "f16 0"}}};
  double least_bits = 0;
  for (const auto& [target, expected] : cases) {
    convert({model_folder(kBundledModel), "-o", pocket, "--target-bits", std::to_string(target),
             "--held-out", text, "--report", report_path, "--verify", "--quiet"});
    const nlohmann::json report = read_json(report_path);
    std::set<std::string> formats;
    double bytes = 0, count = 0;
    for (const nlohmann::json& weight : report.at("weights")) {
      double own = 1;
      for (const nlohmann::json& extent : weight.at("shape")) own *= extent.get<double>();
      bytes += weight.at("bytes").get<double>();
      count += own;
      if (weight.at("role") == "vector") continue;
      formats.insert(weight.at("encoding").get<std::string>() + " " +
                     std::to_string(weight.at("group").get<int>()));
    }
    const nlohmann::json& budget = report.at("budget");
    const double bits = 8 * bytes / count;
    CHECK(bits <= target);
    CHECK(bits > target - 0.15);
    CHECK(std::abs(budget.at("bits").get<double>() - bits) < 1e-9);
    CHECK(formats == expected);
    for (const nlohmann::json& choice : budget.at("choices")) {
      const nlohmann::json& chosen = choice.at("candidates").at(choice.at("chosen").get<size_t>());
      for (const nlohmann::json& name : choice.at("weights")) {
        for (const nlohmann::json& weight : report.at("weights")) {
          if (weight.at("name") != name) continue;
          CHECK(weight.at("encoding") == chosen.at("encoding"));
          CHECK(weight.at("group") == chosen.at("group"));
        }
      }
    }
    const nlohmann::json tested =
        nlohmann::json::parse(bench({"selftest", pocket, "-r", "1", "--json", "-"}));
    CHECK(tested.at("passed") == true);
    check_perplexity(pocket, text, report);
    least_bits = budget.at("least_bits").get<double>();
  }
  const CommandResult below =
      run_command({POCKET_BINARY_DIR "/llmconvert", model_folder(kBundledModel), "-o",
                   folder / "below.pocket", "--target-bits", "4.1"});
  CHECK(below.exit_code == 2);
  char least[40];
  std::snprintf(least, sizeof least, "%.4f bits", least_bits);
  INFO(below.err);
  CHECK(below.err.find(least) != std::string::npos);
}

TEST_CASE("head-weights: the tied table is stored once, in the encoding that is asked for") {
  const TemporaryFolder folder;
  const std::string text = folder / "ids.json";
  write_file(text, nlohmann::json(read_golden(model_folder(kBundledModel)).tokens).dump());
  const std::pair<std::string, std::string> cases[] = {
      {"m0e4", "f16"}, {"int4", "m0e4"}, {"any", "int4"}};
  for (const auto& [weights, head] : cases) {
    const std::string pocket = folder / (weights + head), report_path = pocket + ".json";
    convert({model_folder(kBundledModel), "-o", pocket, "--weights", weights, "--head-weights", head,
             "--held-out", text, "--report", report_path, "--quiet"});
    const nlohmann::json report = read_json(report_path);
    int tables = 0;
    for (const nlohmann::json& weight : report.at("weights")) {
      const std::string of = weight.at("role").get<std::string>();
      const std::string encoding = weight.at("encoding").get<std::string>();
      if (of == "matrix") CHECK(encoding == weights);
      if (of != "embedding" && of != "head") continue;
      ++tables;
      CHECK(encoding == head);
    }
    CHECK(tables == 1);
    check_perplexity(pocket, text, report);
  }
}

}  // namespace pocket::test
