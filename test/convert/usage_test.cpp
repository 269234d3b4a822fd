#include "test/convert/llmconvert.h"
#include "test/support/catch.h"

using namespace pocket;
using test::llmconvert;

TEST_CASE("wrong usage ends with 2, one sentence, and no file") {
  const test::TemporaryFolder folder;
  const std::string model = test::model_folder("tiny-gpt2"), out = folder / "out.pocket";
  const std::string schedule = folder / "schedule.json", ids = folder / "ids.json";
  struct Case {
    std::vector<std::string> arguments;
    const char* named;
  };
  const Case cases[] = {
      {{}, "input"},
      {{model}, "-o"},
      {{model, "-o", out, "--weights", "w8a8"}, "--calibration"},
      {{model, "-o", out, "--weights", "w8a8", "--method", "gptq", "--calibration", ids}, "--method"},
      {{model, "-o", out, "--weights", "w8a8", "--calibration", ids, "--w8a8-weights", "best"}, "best"},
      {{model, "-o", out, "--weights", "w8a8", "--calibration", ids, "--w8a8-clip-threshold", "0"},
       "clip-threshold"},
      {{model, "-o", out, "--weights", "w8a8", "--calibration", ids, "--w8a8-outliers", "shadow"},
       "--held-out"},
      {{model, "-o", out, "--w8a8-weights", "per-channel"}, "--w8a8-weights"},
      {{model, "-o", out, "--weights", "any", "--method", "gptq"}, "--method"},
      {{model, "-o", out, "--weights", "int5"}, "int5"},
      {{model, "-o", out, "--weights", "any", "--bits", "4,1"}, "--bits"},
      {{model, "-o", out, "--bits", "4,3,2"}, "--weights any"},
      {{model, "-o", out, "--method", "gptq"}, "--calibration"},
      {{model, "-o", out, "--method", "awq+gptq"}, "--calibration"},
      {{model, "-o", out, "--method", "best"}, "best"},
      {{model, "-o", out, "--act-order"}, "--act-order"},
      {{model, "-o", out, "--act-order", "--method", "awq", "--calibration", ids}, "--act-order"},
      {{model, "-o", out, "--no-clip", "--method", "gptq", "--calibration", ids}, "--no-clip"},
      {{model, "-o", out, "--weights", "f16", "--calibration", ids}, "f16"},
      {{model, "-o", out, "--calibration", "text.txt"}, "no tokenizer.json"},
      {{model, "-o", out, "--calibration", ids, "--calibration-tokens", "0"}, "calibration-tokens"},
      {{model, "-o", out, "--group-size", "48"}, "48 not in {16,32,64,96,"},
      {{model, "-o", out, "--group-size", "512"}, "224,256}"},
      {{model, "-o", out, "--head-weights", "any"}, "--head-weights any"},
      {{model, "-o", out, "--weights", "f16", "--head-weights", "m0e4"}, "--head-weights m0e4"},
      {{model, "-o", out, "--target-bits", "0"}, "target-bits"},
      {{model, "-o", out, "--target-bits", "5", "--group-size", "64"}, "--group-size"},
      {{model, "-o", out, "--target-bits", "5", "--weights", "any"}, "--target-bits"},
      {{model, "-o", out, "--sensitivity", ids}, "--weights any"},
      {{model, "-o", out, "--weights", "any", "--sensitivity", ids, "--calibration", ids},
       "--calibration"},
      {{model, "-o", out, "--group-size", "x"}, "group-size"},
      {{model, "-o", out, "--calibration-tokens", "10"}, "--calibration-tokens"},
      {{model, "-o", out, "--precision-schedule", schedule}, "--precision-schedule"},
      {{model, "-o", out, "--dump-after", "nonsense"}, "fuse-norm"},
      {{model, "-o", out, "--surprise"}, "surprise"},
      {{model, "-o", out, "--context", "1000000"}, "1000000"},
      {{model, "-o", out, "--context", "0"}, "context"},
      {{model, "-o", out, "--chunk", "-3"}, "chunk"},
      {{model, "-o", folder / "missing/out.pocket"}, "missing/out.pocket"},
      {{model, "-o", folder.path().string()}, "not a folder"},
  };
  for (const Case& one : cases) {
    const auto result = llmconvert(one.arguments);
    INFO(result.err);
    CHECK(result.exit_code == 2);
    CHECK(result.out.empty());
    CHECK(result.err.find(one.named) != std::string::npos);
    const size_t last_line = result.err.rfind('\n', result.err.size() - 2);
    CHECK(result.err.find("llmconvert:", last_line == std::string::npos ? 0 : last_line) !=
          std::string::npos);
    CHECK(test::files_in(folder) == 0);
  }
}

TEST_CASE("help is no error") {
  const auto result = llmconvert({"--help"});
  CHECK(result.exit_code == 0);
  for (const char* option : {"--weights", "--group-size", "--verify", "--shapes-only", "--report",
                             "--method", "--calibration", "--calibration-tokens", "--act-order",
                             "--dump-after", "--context", "--chunk", "--quiet"}) {
    CHECK(result.out.find(option) != std::string::npos);
  }
}
