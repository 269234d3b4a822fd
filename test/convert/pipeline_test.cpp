#include <cmath>
#include <nlohmann/json.hpp>

#include "converter/onnx/import.h"
#include "runtime/package/package.h"
#include "test/convert/llmconvert.h"
#include "test/support/catch.h"
#include "test/support/schema.h"

using namespace pocket;
using test::llmconvert;

namespace {

// Nine windows of 20 token ids, all below 90, for a calibration.
void write_windows(const std::string& path) {
  nlohmann::json windows = nlohmann::json::array();
  for (int64_t i = 0; i < 9; ++i) {
    windows.push_back(nlohmann::json::array());
    for (int64_t t = 0; t < 20; ++t) windows.back().push_back((i * 37 + t * t * 11 + t) % 90);
  }
  test::write_file(path, windows.dump());
}

}  // namespace

TEST_CASE("every tiny model converts in every encoding and is verified") {
  const test::TemporaryFolder folder;
  const std::string path = folder / "out.pocket", report_path = folder / "report.json";
  for (const char* name : {"tiny-gpt2", "tiny-qwen2", "tiny-qwen2-fp16-external"}) {
    for (const char* weights : {"f16", "int4", "m0e4"}) {
      INFO(name << " as " << weights);
      const auto result = llmconvert({test::model_folder(name), "-o", path, "--weights", weights,
                                      "--verify", "--report", report_path});
      INFO(result.err);
      REQUIRE(result.exit_code == 0);
      CHECK(result.out.empty());
      for (const char* stage :
           {"importing", "shapes", "passes", "lowering", "encoding", "verifying", "verified on"}) {
        CHECK(result.err.find(stage) != std::string::npos);
      }
      const Package package = Package::open(path);
      for (size_t i = 0; i < package.manifest().shards.size(); ++i) package.verify_shard(i);
      CHECK(package.manifest().provenance.at("weights") == weights);

      const auto report = nlohmann::json::parse(test::read_file(report_path));
      CHECK(test::schema_errors("convert", report) == "");
      CHECK(report.at("file").at("bytes") == package.file_bytes());
      CHECK(report.at("verify").at("file_error") <= report.at("verify").at("file_tolerance"));
      CHECK(report.at("passes").size() > 10);
      CHECK(report.at("dispatches").at("after").at("total") <
            report.at("dispatches").at("before").at("total"));
      REQUIRE(report.at("weights").size() == package.manifest().weights.size());
      uint64_t weight_bytes = 0;
      for (size_t i = 0; i < package.manifest().weights.size(); ++i) {
        const Weight& weight = package.manifest().weights[i];
        const auto& entry = report.at("weights").at(i);
        CHECK(entry.at("name") == weight.name);
        const std::string role = entry.at("role");
        CHECK(entry.at("encoding") == (role == "vector"      ? "f32"
                                       : role == "positions" ? "f16"
                                                             : weights));
        if (weight.format.four_bit()) {
          const int64_t groups = (weight.format.columns + 31) / 32;
          CHECK(entry.at("bytes") == weight.format.rows * groups * (16 + 4));
          CHECK(entry.at("snr_db") > 15.0);
        }
        uint64_t sections = 0;
        for (const Section& section : weight.sections) sections += section.bytes;
        CHECK(entry.at("bytes") == sections);
        weight_bytes += sections;
      }
      CHECK(report.at("file").at("weight_bytes") == weight_bytes);
    }
  }
}

TEST_CASE("calibrated methods convert, are verified and reported, and leave nothing behind") {
  const test::TemporaryFolder folder;
  const std::string path = folder / "out.pocket", report_path = folder / "report.json";
  const std::string ids = folder / "ids.json";
  write_windows(ids);
  for (const char* name : {"tiny-gpt2", "tiny-qwen2", "tiny-qwen2-fp16-external"}) {
    for (const char* method : {"rtn", "gptq", "awq", "awq+gptq"}) {
      INFO(name << " by " << method);
      const auto result =
          llmconvert({test::model_folder(name), "-o", path, "--calibration", ids, "--method",
                      method, "--verify", "--report", report_path});
      INFO(result.err);
      REQUIRE(result.exit_code == 0);
      for (const char* said : {"calibrating", "left, peak", "calibrated on 180 tokens"}) {
        CHECK(result.err.find(said) != std::string::npos);
      }
      const Package package = Package::open(path);
      CHECK(package.manifest().provenance.at("method") == method);
      const auto report = nlohmann::json::parse(test::read_file(report_path));
      CHECK(test::schema_errors("convert", report) == "");
      CHECK(report.at("calibration").at("held_out_windows") == 1);
      CHECK(report.at("peak_memory_bytes") > 1'000'000);
      size_t measured = 0;
      for (const auto& weight : report.at("weights")) {
        const auto& quantisation = weight.at("quantisation");
        if (weight.at("role") == "matrix" || weight.at("role") == "head") {
          CHECK(quantisation.at("output_error").get<double>() < 0.1);
          CHECK(quantisation.at("bits").get<double>() >= 5.0);
          ++measured;
        }
        const auto saturation = quantisation.at("saturation").get<double>();
        CHECK(saturation < 0.1);
        if (weight.at("encoding") != "m0e4") CHECK(saturation == 0.0);
        if (weight.at("encoding") != "m0e4") CHECK(quantisation.at("method") == "round");
      }
      CHECK(measured >= 6);
      // The last of nine windows is held out, and the inputs of tiny models are wider than 40.
      const bool gptq = std::string(method).ends_with("gptq");
      const size_t warned = result.err.find("160 tokens to measure on and GPTQ wants");
      CHECK((warned != std::string::npos) == gptq);
      CHECK(test::files_in(folder) == 3);  // ids, file and report
    }
  }
  const auto by_default = llmconvert({test::model_folder("tiny-qwen2"), "-o", path, "--calibration",
                                      ids, "--calibration-tokens", "40", "--quiet"});
  REQUIRE(by_default.exit_code == 0);
  CHECK(by_default.err.empty());
  CHECK(Package::open(path).manifest().provenance.at("method") == "awq+gptq");
}

TEST_CASE("any precision converts with and without a text, is verified and reported") {
  const test::TemporaryFolder folder;
  const std::string path = folder / "out.pocket", report_path = folder / "report.json";
  const std::string ids = folder / "ids.json";
  write_windows(ids);
  for (const char* name : {"tiny-gpt2", "tiny-qwen2"}) {
    for (const bool calibrated : {false, true}) {
      INFO(name << (calibrated ? " calibrated" : ""));
      std::vector<std::string> arguments = {test::model_folder(name), "-o", path, "--weights",
                                            "any", "--bits", "5,3", "--verify", "--report",
                                            report_path};
      if (calibrated) arguments.insert(arguments.end(), {"--calibration", ids});
      const auto result = llmconvert(arguments);
      INFO(result.err);
      REQUIRE(result.exit_code == 0);
      const Package package = Package::open(path);
      CHECK(package.manifest().provenance.at("method") == "any");
      const auto report = nlohmann::json::parse(test::read_file(report_path));
      CHECK(test::schema_errors("convert", report) == "");
      size_t matrices = 0;
      for (const auto& weight : report.at("weights")) {
        const bool matrix = weight.at("role") == "matrix";
        CHECK((weight.at("encoding") == "any") == matrix);
        if (!matrix) continue;
        ++matrices;
        const auto& quantisation = weight.at("quantisation");
        CHECK(quantisation.at("method") == "any");
        CHECK(quantisation.at("output_error").is_null() != calibrated);
        if (calibrated) CHECK(quantisation.at("output_error").get<double>() < 0.02);
        const int64_t rows = weight.at("shape")[0], columns = weight.at("shape")[1];
        CHECK(weight.at("bytes") == rows * (5 * ((columns + 31) / 32 * 4) + 2 * (8 + 32)));
      }
      CHECK(matrices >= 6);
      // A copy keeps every plane and table.
      REQUIRE(llmconvert({path, "-o", folder / "copy.pocket", "--quiet"}).exit_code == 0);
      CHECK(test::read_file(folder / "copy.pocket") == test::read_file(path));
      CHECK(test::files_in(folder) == 4);  // ids, file, copy and report
    }
  }
}

TEST_CASE("any precision: equal sensitivities of every constant change nothing, others do") {
  const test::TemporaryFolder folder;
  const std::string path = folder / "s.safetensors";
  for (const char* name : {"tiny-gpt2", "tiny-qwen2"}) {
    INFO(name);
    onnx_import::ImportReport source;
    const ir::Graph graph = onnx_import::import_model(test::model_folder(name), &source);
    for (const bool equal : {true, false}) {
      nlohmann::json header = {{"__metadata__", {{"tokens", "1"}}}};
      std::string data;
      for (ir::ValueId id = 0; id < static_cast<ir::ValueId>(graph.value_count()); ++id) {
        const auto& constant = graph.value(id).constant;
        if (!constant || constant->shape.size() != 2 || !ir::is_float_type(constant->type)) continue;
        const size_t begin = data.size();
        for (int64_t i = 0; i < constant->elements(); ++i) {
          const float value = equal ? 0.25f : static_cast<float>(i * 7 % 13);
          data.append(reinterpret_cast<const char*>(&value), sizeof value);
        }
        header[graph.value(id).name] = {
            {"dtype", "F32"}, {"shape", constant->shape}, {"data_offsets", {begin, data.size()}}};
      }
      const std::string text = header.dump();
      const uint64_t size = text.size();
      test::write_file(path, std::string(reinterpret_cast<const char*>(&size), 8) + text + data);
      const auto even = llmconvert(
          {test::model_folder(name), "-o", folder / "even.pocket", "--weights", "any", "--quiet"});
      const auto weighed = llmconvert({test::model_folder(name), "-o", folder / "own.pocket",
                                       "--weights", "any", "--sensitivity", path, "--verify",
                                       "--quiet"});
      INFO(even.err << weighed.err);
      REQUIRE(even.exit_code == 0);
      REQUIRE(weighed.exit_code == 0);
      CHECK((test::read_file(folder / "even.pocket") == test::read_file(folder / "own.pocket")) ==
            equal);
    }
  }
}

TEST_CASE("a budget of bits: chosen with and without a text, kept, verified and reported") {
  const test::TemporaryFolder folder;
  const std::string path = folder / "out.pocket", report_path = folder / "report.json";
  const std::string ids = folder / "ids.json";
  write_windows(ids);
  for (const char* name : {"tiny-gpt2", "tiny-qwen2"}) {
    for (const bool calibrated : {false, true}) {
      INFO(name << (calibrated ? " calibrated" : ""));
      std::vector<std::string> arguments = {test::model_folder(name), "-o", path, "--target-bits",
                                            "8", "--verify", "--report", report_path};
      if (calibrated) arguments.insert(arguments.end(), {"--calibration", ids});
      const auto result = llmconvert(arguments);
      INFO(result.err);
      REQUIRE(result.exit_code == 0);
      CHECK(result.err.find("bits a weight of the 8 asked for") != std::string::npos);
      const auto report = nlohmann::json::parse(test::read_file(report_path));
      CHECK(test::schema_errors("convert", report) == "");
      const auto& budget = report.at("budget");
      CHECK(budget.at("bits").get<double>() <= 8.0);
      CHECK(budget.at("bits").get<double>() > 7.0);
      CHECK(Package::open(path).manifest().provenance.at("target_bits") == 8.0);
      size_t weights = 0;
      for (const auto& choice : budget.at("choices")) {
        weights += choice.at("weights").size();
        for (const auto& candidate : choice.at("candidates")) {
          CHECK(candidate.at("error").get<double>() < 0.1);
        }
        CHECK(choice.at("candidates").front().at("group") == 16);
        CHECK(choice.at("candidates").back().at("encoding") == "f16");
        CHECK(choice.at("candidates").back().at("error").get<double>() < 1e-5);
      }
      CHECK(weights >= 6);
    }
  }
  // Below the 6 bits of groups of 16 these are no candidates.
  const auto small = llmconvert({test::model_folder("folktale-2m"), "-o", path, "--target-bits", "5",
                                 "--report", report_path, "--quiet"});
  INFO(small.err);
  REQUIRE(small.exit_code == 0);
  const auto report = nlohmann::json::parse(test::read_file(report_path));
  REQUIRE(report.at("budget").at("choices").size() > 10);
  for (const auto& choice : report.at("budget").at("choices")) {
    CHECK(choice.at("candidates").front().at("group") == 32);
  }
}

TEST_CASE("w8a8 converts, is verified, measured and reported; its scales and outliers are stored") {
  const test::TemporaryFolder folder;
  const std::string path = folder / "out.pocket", report_path = folder / "report.json";
  const std::string ids = folder / "ids.json";
  write_windows(ids);
  for (const char* name : {"tiny-gpt2", "tiny-qwen2", "tiny-qwen2-fp16-external"}) {
    double kl[2] = {0, 0};
    for (const bool shadow : {false, true}) {
      INFO(name << ", shadow " << shadow);
      const auto result = llmconvert(
          {test::model_folder(name), "-o", path, "--weights", "w8a8", "--w8a8-weights",
           "per-channel", "--w8a8-clip-threshold", "1", "--calibration", ids, "--held-out", ids,
           "--w8a8-outliers", shadow ? "shadow" : "none", "--verify", "--report", report_path});
      INFO(result.err);
      REQUIRE(result.exit_code == 0);
      const Package package = Package::open(path);
      CHECK(package.manifest().provenance.at("weights") == "w8a8");
      CHECK(package.manifest().provenance.at("method") == "per-channel");
      const auto report = nlohmann::json::parse(test::read_file(report_path));
      CHECK(test::schema_errors("convert", report) == "");
      kl[shadow ? 1 : 0] = report.at("quality").at("kl").get<double>();
      size_t matrices = 0;
      for (size_t i = 0; i < report.at("weights").size(); ++i) {
        const auto& weight = report.at("weights")[i];
        const Weight& stored = package.manifest().weights[i];
        const bool matrix = weight.at("role") == "matrix";
        CHECK((weight.at("encoding") == "w8a8") == matrix);
        CHECK(weight.at("quantisation").at("activation").is_null() != matrix);
        if (!matrix) continue;
        ++matrices;
        const auto& quantisation = weight.at("quantisation");
        CHECK(quantisation.at("method") == "per-channel");
        CHECK(quantisation.at("bits").get<double>() >= 8.0);
        CHECK(quantisation.at("output_error").get<double>() < 0.05);
        const auto& activation = quantisation.at("activation");
        CHECK(activation.at("saturation").get<double>() <= 0.001);
        CHECK(stored.act_scale == activation.at("step").get<float>());
        REQUIRE(stored.outlier.has_value() == !activation.at("outlier").is_null());
        if (!stored.outlier) continue;
        CHECK(stored.outlier->importance > 0.99f);
        CHECK(stored.outlier->hit_rate >= 0.8f);
        CHECK(activation.at("outlier").at("hot_channels") == stored.outlier->hot_channels);
      }
      CHECK(matrices >= 5);
      CHECK(test::files_in(folder) == 3);  // ids, file and report
    }
    CHECK(kl[1] < kl[0]);
  }
}

TEST_CASE("options reach the file") {
  const test::TemporaryFolder folder;
  const std::string path = folder / "out.pocket";
  const auto result =
      llmconvert({test::model_folder("tiny-qwen2") + "/model.onnx", "-o", path, "--weights", "e0m4",
                  "--group-size", "64", "--context", "96", "--chunk", "24", "--quiet"});
  INFO(result.err);
  REQUIRE(result.exit_code == 0);
  CHECK(result.err.empty());
  const Package package = Package::open(path);
  const Program& program = package.manifest().program;
  CHECK(program.default_context == 96);
  CHECK(program.default_chunk == 24);
  CHECK(package.manifest().provenance.at("group_size") == 64);
  size_t grouped = 0;
  for (const Weight& weight : package.manifest().weights) {
    if (!weight.format.four_bit()) continue;
    CHECK(weight.format.encoding == Encoding::m0e4);
    CHECK(weight.format.group == 64);
    ++grouped;
  }
  CHECK(grouped > 5);
}

TEST_CASE("every method converts to groups of 16, is verified, and costs 6 bits a weight and padding") {
  const test::TemporaryFolder folder;
  const std::string path = folder / "out.pocket", report_path = folder / "report.json";
  const std::string ids = folder / "ids.json";
  write_windows(ids);
  for (const char* weights : {"m0e4", "int4"}) {
    for (const char* method : {"rtn", "gptq", "awq", "awq+gptq"}) {
      INFO(weights << ", " << method);
      std::vector<std::string> words = {test::model_folder("tiny-qwen2"), "-o", path, "--weights", weights,
                                        "--method", method, "--group-size", "16", "--verify",
                                        "--report", report_path};
      if (std::string(method) != "rtn") words.insert(words.end(), {"--calibration", ids});
      const auto result = llmconvert(words);
      INFO(result.err);
      REQUIRE(result.exit_code == 0);
      const auto report = nlohmann::json::parse(test::read_file(report_path));
      size_t grouped = 0;
      for (const auto& weight : report.at("weights")) {
        if (weight.at("encoding") != weights) continue;
        CHECK(weight.at("group") == 16);
        const auto columns = weight.at("shape").at(1).get<double>();
        // Two pairs of 32 bits for each 32 codes, padding too.
        CHECK(weight.at("quantisation").at("bits").get<double>() ==
              Approx(6.0 * 32 * std::ceil(columns / 32) / columns));
        ++grouped;
      }
      CHECK(grouped > 5);
    }
  }
}

TEST_CASE("held-out: the finished file is compared with the model") {
  const test::TemporaryFolder folder;
  const std::string path = folder / "out.pocket", report_path = folder / "report.json";
  const std::string ids = folder / "ids.json";
  test::write_file(ids, "[[3,14,15,92,65,35,89],[79],[32,38,46]]");
  double perplexity = 0.0;
  for (const char* weights : {"f16", "m0e4"}) {
    const bool exact = std::string(weights) == "f16";
    const auto result = llmconvert({test::model_folder("tiny-gpt2"), "-o", path, "--weights",
                                    weights, "--held-out", ids, "--report", report_path});
    INFO(result.err);
    REQUIRE(result.exit_code == 0);
    CHECK(result.err.find("8 tokens held out") != std::string::npos);
    const auto report = nlohmann::json::parse(test::read_file(report_path));
    CHECK(test::schema_errors("convert", report) == "");
    const auto& quality = report.at("quality");
    CHECK(quality.at("tokens") == 8);
    CHECK(quality.at("window_tokens") == nlohmann::json::array({6, 2}));
    const auto number = [&](const char* name) { return quality.at(name).get<double>(); };
    const auto kl = quality.at("window_kl").get<std::vector<double>>();
    CHECK((6 * kl.at(0) + 2 * kl.at(1)) / 8 == Approx(number("kl")));
    CHECK(number("kl") < (exact ? 1e-5 : 1.0));
    CHECK((number("kl") > 1e-4) == !exact);
    if (exact) CHECK(number("perplexity") == Approx(number("model_perplexity")).epsilon(1e-3));
    if (exact) CHECK(number("top1") == 1.0);
    if (!exact) CHECK(number("model_perplexity") == perplexity);
    perplexity = number("model_perplexity");
  }
  test::write_file(ids, "[[3],[4]]");
  const auto result = llmconvert({test::model_folder("tiny-gpt2"), "-o", path, "--held-out", ids});
  CHECK(result.exit_code == 3);
}

TEST_CASE("without the clip search hardly a weight saturates, and more is lost") {
  const test::TemporaryFolder folder;
  const std::string path = folder / "out.pocket", report_path = folder / "report.json";
  for (const char* weights : {"m0e4", "int4"}) {
    struct Sum {
      double error = 0.0, saturation = 0.0;
    };
    Sum sums[2];
    for (const bool clip : {false, true}) {
      std::vector<std::string> arguments = {test::model_folder("tiny-qwen2"), "-o", path,
                                            "--weights", weights, "--report", report_path,
                                            "--quiet"};
      if (!clip) arguments.push_back("--no-clip");
      REQUIRE(llmconvert(arguments).exit_code == 0);
      const auto report = nlohmann::json::parse(test::read_file(report_path));
      for (const auto& weight : report.at("weights")) {
        sums[clip].error += weight.at("mse").get<double>();
        sums[clip].saturation += weight.at("quantisation").at("saturation").get<double>();
      }
    }
    // A zero point that is rounded by half a step leaves one end of the range at the very limit.
    CHECK(sums[0].saturation < 0.1 * sums[1].saturation);
    CHECK(sums[1].saturation > 0.0);
    CHECK(sums[1].error < sums[0].error);
  }
}

TEST_CASE("the same model gives the same bytes") {
  const test::TemporaryFolder folder;
  for (const char* name : {"a.pocket", "b.pocket"}) {
    REQUIRE(
        llmconvert({test::model_folder("tiny-gpt2"), "-o", folder / name, "--quiet"}).exit_code ==
        0);
  }
  CHECK(test::read_file(folder / "a.pocket") == test::read_file(folder / "b.pocket"));
}

TEST_CASE("the bundled model brings tokenizer, stop ids and little else") {
  const test::TemporaryFolder folder;
  const std::string path = folder / "out.pocket";
  const auto result = llmconvert({test::model_folder("folktale-2m"), "-o", path, "--quiet"});
  INFO(result.err);
  REQUIRE(result.exit_code == 0);
  const Package package = Package::open(path);
  const auto stored = nlohmann::json::parse(package.manifest().tokenizer_json);
  CHECK(stored == nlohmann::json::parse(
                      test::read_file(test::model_folder("folktale-2m") + "/tokenizer.json")));
  CHECK_FALSE(package.manifest().generation.eos_ids.empty());
  uint64_t quantised = 0, other = package.file_bytes() - package.tokenizer_bytes();
  for (const Weight& weight : package.manifest().weights) {
    const uint64_t bytes = weight.format.code_bytes() + weight.format.pair_bytes();
    if (weight.format.encoding == Encoding::f32) continue;
    CHECK(weight.format.encoding == Encoding::m0e4);
    quantised += bytes;
  }
  other -= quantised;
  CHECK(quantised > 500'000);
  CHECK(other <= 96 * 1024);
}

TEST_CASE("shapes are printed without the external data") {
  const test::TemporaryFolder folder;
  const std::string model = test::copy_model(folder, "tiny-qwen2-fp16-external");
  std::filesystem::remove(model + "/model.onnx_data");
  const size_t before = test::files_in(folder);
  const auto result = llmconvert({model, "--shapes-only"});
  INFO(result.err);
  CHECK(result.exit_code == 0);
  CHECK(result.out.find("tokens") != std::string::npos);
  CHECK(result.out.find("past") != std::string::npos);
  CHECK(result.out.find("211") != std::string::npos);
  CHECK(test::files_in(folder) == before);
  CHECK(llmconvert({model, "-o", folder / "out.pocket"}).exit_code == 3);
}

TEST_CASE("any stage can be dumped") {
  const test::TemporaryFolder folder;
  const std::string path = folder / "out.pocket";
  const std::pair<const char*, const char*> stages[] = {{"import", "Gemm"},
                                                        {"shapes", "LayerNormalization"},
                                                        {"fuse-norm", "pocket"},
                                                        {"lower", "segment"}};
  for (const auto& [stage, part] : stages) {
    const auto result =
        llmconvert({test::model_folder("tiny-gpt2"), "-o", path, "--dump-after", stage, "--quiet"});
    INFO(stage << ": " << result.err);
    REQUIRE(result.exit_code == 0);
    CHECK(result.out.find(part) != std::string::npos);
  }
}

TEST_CASE("a .pocket file is copied weight by weight") {
  const test::TemporaryFolder folder;
  const std::string first = folder / "a.pocket", second = folder / "b.pocket";
  REQUIRE(llmconvert({test::model_folder("tiny-qwen2"), "-o", first, "--quiet"}).exit_code == 0);
  REQUIRE(llmconvert({first, "-o", second, "--quiet"}).exit_code == 0);
  CHECK(test::read_file(first) == test::read_file(second));
  REQUIRE(llmconvert({first, "-o", first, "--quiet"}).exit_code == 0);  // onto itself
  CHECK(test::read_file(first) == test::read_file(second));
  std::string damaged = test::read_file(first);
  damaged[damaged.size() - 100] ^= 1;
  test::write_file(first, damaged);
  const auto result = llmconvert({first, "-o", second, "--quiet"});
  CHECK(result.exit_code == 3);
  CHECK(test::one_line(result.err));
}
