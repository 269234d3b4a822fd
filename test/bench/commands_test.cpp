// The commands over a tiny model, each JSON document against its schema.
#include <cmath>

#include "converter/package/writer.h"
#include "test/bench/llmbench.h"
#include "test/support/catch.h"
#include "test/support/schema.h"

namespace pocket::test {
namespace {

const TinyFile& model() {
  static const TinyFile file;
  return file;
}

std::string tokens_text(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += (i ? "," : "") + std::to_string((i * 37 + 5) % 105);
  return text;
}

std::vector<double> log_softmax(const std::vector<double>& row) {
  double sum = 0;
  for (const double value : row) sum += std::exp(value);
  std::vector<double> result;
  for (const double value : row) result.push_back(value - std::log(sum));
  return result;
}

// The same file with outliers of these importances, which the w8a8 weights take in turn.
void copy_with_outliers(const std::string& from, const std::string& to,
                        const std::vector<float>& importances) {
  const Package package = Package::open(from);
  PackageWriter writer(to);
  size_t next = 0;
  for (const Weight& weight : package.manifest().weights) {
    writer.begin_weight(weight.name, weight.shape, weight.format);
    if (weight.format.encoding == Encoding::w8a8) {
      writer.set_input(weight.act_scale, Outlier{importances[next++ % importances.size()], {3}, 0.5f});
    }
    for (const Section& section : weight.sections) {
      const auto bytes = package.section(section);
      writer.append(section.role, {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()},
                    section.bits);
    }
  }
  writer.finish(package.manifest());
}

}  // namespace

TEST_CASE("run: the report is valid, whole, and repeats its hash") {
  const std::vector<std::string> arguments = {"run", model().path(), "-p", "9,40",     "-n",
                                              "6",   "-r",           "2",  "--warmup", "1"};
  const nlohmann::json report = llmbench_json(arguments);
  CHECK(schema_errors("run", report) == "");
  REQUIRE(report.at("results").size() == 2);
  const nlohmann::json& result = report.at("results").at(1);
  CHECK(result.at("prompt") == 40);
  CHECK(result.at("samples").size() == 2);
  for (const nlohmann::json& sample : result.at("samples")) {
    CHECK(sample.at("token_ns").size() == 5);
    CHECK(sample.at("logits_hash") == result.at("logits_hash"));
    CHECK(sample.at("plan_evaluations") == 0);  // the plan is evaluated when a model is loaded
  }
  CHECK(report.at("probes").at("copy").at("bytes") == 256 << 20);
  const double read = report.at("probes").at("read").at("bytes_per_second").get<double>();
  CHECK(result.at("share_of_read_bandwidth").get<double>() ==
        Approx(result.at("bytes_per_second").get<double>() / read));
  CHECK(report.at("memory").at("peak").at("weights").get<uint64_t>() >=
        report.at("memory").at("planned").at("weights").get<uint64_t>());
  CHECK(llmbench_json(arguments).at("logits_hash") == report.at("logits_hash"));
}

TEST_CASE("run: table on stdout, JSON and CSV in files") {
  const std::string json = model().folder() / "run.json", csv = model().folder() / "run.csv";
  const CommandResult result = llmbench(
      {"run", model().path(), "-p", "5", "-n", "3", "-r", "1", "--json", json, "--csv", csv});
  INFO(result.err);
  REQUIRE(result.exit_code == 0);
  CHECK(result.out.find("self-test passed") != std::string::npos);
  CHECK(result.out.find("decode tok/s") != std::string::npos);
  CHECK(result.err.find("repetition 1 of 1") != std::string::npos);
  CHECK(schema_errors("run", nlohmann::json::parse(read_file(json))) == "");
  const std::string rows = read_file(csv);
  CHECK(std::count(rows.begin(), rows.end(), '\n') == 2);
}

TEST_CASE("run: submissions are split by time, and the priority granted is said") {
  const std::string json = model().folder() / "split.json";
  const CommandResult result =
      llmbench({"run", model().path(), "-p", "20", "-n", "4", "-r", "1", "--max-submit-ms", "0.001",
                "--priority", "low", "--json", json});
  INFO(result.err);
  REQUIRE(result.exit_code == 0);
  const nlohmann::json report = nlohmann::json::parse(read_file(json));
  CHECK(schema_errors("run", report) == "");
  const nlohmann::json& limit = report.at("submission_limit");
  CHECK(limit.at("max_submit_ms") == 0.001);
  CHECK(limit.at("decode_step").at("submissions") > 3);
  const nlohmann::json& sample = report.at("results").at(0).at("samples").at(0);
  CHECK(sample.at("submits") == sample.at("decode_steps").get<int>() *
                                    limit.at("decode_step").at("submissions").get<int>());
  CHECK(result.out.find("submit   at most 0.00 ms") != std::string::npos);

  const nlohmann::json& priority = report.at("priority");
  CHECK(priority.at("requested") == "low");
  const std::string granted = priority.at("granted"), note = priority.at("note");
  CHECK((granted == "low") == note.empty());
  const std::string line = "priority low asked for, " + granted + " granted";
  CHECK(result.out.find(line) != std::string::npos);
}

TEST_CASE("generate: ids as data, the same by seed, stopped by a stop id") {
  const nlohmann::json greedy =
      llmbench_json({"generate", model().path(), "--tokens", tokens_text(20), "-n", "12"});
  CHECK(schema_errors("generate", greedy) == "");
  CHECK(greedy.at("prompt_tokens").size() == 20);
  CHECK(greedy.at("tokens").size() == 12);
  CHECK(greedy.at("stop") == "length");
  const CommandResult plain =
      llmbench({"generate", model().path(), "--tokens", tokens_text(20), "-n", "12", "--quiet"});
  std::string list;
  for (const nlohmann::json& token : greedy.at("tokens")) {
    list += (list.empty() ? "" : ",") + std::to_string(token.get<int>());
  }
  CHECK(plain.out == list + "\n");

  const auto drawn = [&](const char* seed) {
    return llmbench_json({"generate", model().path(), "--tokens", tokens_text(20), "-n", "12",
                          "--temperature", "1.5", "--top-k", "50", "--seed", seed})
        .at("tokens");
  };
  CHECK(drawn("7") == drawn("7"));
  CHECK(drawn("7") != drawn("8"));

  const int third = greedy.at("tokens").at(2).get<int>();
  TinyOptions options;
  options.eos_ids = {third};
  const TinyFile stopping(options);
  const nlohmann::json stopped =
      llmbench_json({"generate", stopping.path(), "--tokens", tokens_text(20), "-n", "12"});
  CHECK(stopped.at("stop") == "eos");
  CHECK(stopped.at("tokens").size() <= 2);
  for (size_t i = 0; i < stopped.at("tokens").size(); ++i) {
    CHECK(stopped.at("tokens").at(i) == greedy.at("tokens").at(i));
  }
}

TEST_CASE("generate fills the context to its last slot when no length is asked for") {
  const nlohmann::json all =
      llmbench_json({"generate", model().path(), "--tokens", tokens_text(20), "--context", "40"});
  CHECK(all.at("tokens").size() == 21);  // the last slot's token is delivered, not evaluated
}

TEST_CASE("logits: prefill and decode agree, perplexity follows from them") {
  const int count = 33;
  const nlohmann::json prefill =
      llmbench_json({"logits", model().path(), "--tokens", tokens_text(count)});
  CHECK(schema_errors("logits", prefill) == "");
  const nlohmann::json decode = llmbench_json(
      {"logits", model().path(), "--tokens", tokens_text(count), "--decode-from", "10"});
  REQUIRE(prefill.at("logits").size() == count);
  REQUIRE(decode.at("logits").size() == count);
  double error = 0, norm = 0, nll = 0;
  for (size_t row = 0; row < count; ++row) {
    const auto a = prefill.at("logits").at(row).get<std::vector<double>>();
    const auto b = decode.at("logits").at(row).get<std::vector<double>>();
    REQUIRE(a.size() == 105);
    for (size_t i = 0; i < a.size(); ++i) {
      error += (a[i] - b[i]) * (a[i] - b[i]);
      norm += a[i] * a[i];
    }
    if (row + 1 < count) {
      nll -= log_softmax(a)[prefill.at("tokens").at(row + 1).get<size_t>()];
    }
  }
  CHECK(std::sqrt(error / norm) < 2e-3);

  write_file(model().folder() / "tokens.json", prefill.at("tokens").dump());
  const nlohmann::json perplexity =
      llmbench_json({"perplexity", model().path(), "--text", model().folder() / "tokens.json"});
  CHECK(schema_errors("perplexity", perplexity) == "");
  CHECK(perplexity.at("tokens") == count - 1);
  CHECK(perplexity.at("nll").get<double>() == Approx(nll / (count - 1)).epsilon(1e-3));
  CHECK(perplexity.at("perplexity").get<double>() ==
        Approx(std::exp(perplexity.at("nll").get<double>())));
}

TEST_CASE("perplexity: windows, and distance to a reference model") {
  const std::string tokens = model().folder() / "windows.json";
  write_file(tokens, "[[1,2,3,4,5,6,7],[8,9,10],[11]]");
  const nlohmann::json own =
      llmbench_json({"perplexity", model().path(), "--text", tokens, "--against", model().path()});
  CHECK(schema_errors("perplexity", own) == "");
  CHECK(own.at("tokens") == 8);
  CHECK(own.at("windows") == 3);
  CHECK(own.at("kl").get<double>() == Approx(0).margin(1e-9));
  CHECK(own.at("top1") == 1.0);

  TinyOptions coarse;
  coarse.encoding = Encoding::m0e4;
  const TinyFile other(coarse);
  const nlohmann::json against =
      llmbench_json({"perplexity", other.path(), "--text", tokens, "--against", model().path()});
  CHECK(against.at("kl").get<double>() > 1e-6);

  const nlohmann::json each = llmbench_json(
      {"perplexity", other.path(), "--text", tokens, "--against", model().path(), "--per-token"});
  CHECK(schema_errors("perplexity", each) == "");
  for (const char* what : {"nll", "kl"}) {
    const nlohmann::json& windows = each.at(std::string("token_") + what);
    REQUIRE(windows.size() == 2);  // those that predict anything
    CHECK(windows[0].size() == 6);
    CHECK(windows[1].size() == 2);
    double sum = 0;
    for (const auto& window : windows) {
      for (const auto& value : window) sum += value.get<double>();
    }
    CHECK(sum / 8 == Approx(each.at(what).get<double>()));
  }

  write_file(tokens, "[1,2,3,4,5,6,7,8,9,10]");
  const nlohmann::json cut =
      llmbench_json({"perplexity", model().path(), "--text", tokens, "--window", "4"});
  CHECK(cut.at("windows") == 3);
  CHECK(cut.at("longest_window") == 4);
  CHECK(cut.at("tokens") == 3 + 3 + 1);
}

TEST_CASE("selftest: every kernel in use, with its error") {
  const nlohmann::json result = llmbench_json({"selftest", model().path(), "-r", "1"});
  CHECK(schema_errors("selftest", result) == "");
  CHECK(result.at("passed") == true);
  CHECK(result.at("entries").size() > 5);
}

TEST_CASE("inspect: every byte of the file is accounted for, without a device") {
  const CommandResult result =
      llmbench({"inspect", model().path(), "--json", "-"}, "VK_DRIVER_FILES=/nonexistent.json");
  REQUIRE(result.exit_code == 0);
  const nlohmann::json document = nlohmann::json::parse(result.out);
  CHECK(schema_errors("inspect", document) == "");
  const nlohmann::json& file = document.at("file");
  uint64_t sum = 0;
  for (const char* part :
       {"header_bytes", "manifest_bytes", "tokenizer_bytes", "weight_bytes", "padding_bytes"}) {
    sum += file.at(part).get<uint64_t>();
  }
  CHECK(sum == std::filesystem::file_size(model().path()));
  CHECK(file.at("bytes") == sum);
  uint64_t weights = 0;
  for (const nlohmann::json& weight : document.at("weights")) {
    weights += weight.at("bytes").get<uint64_t>();
  }
  CHECK(weights == file.at("weight_bytes"));
  CHECK(document.at("plans").at(1).at("arena_bytes") >
        document.at("plans").at(0).at("arena_bytes"));

  const CommandResult text = llmbench({"inspect", model().path()});
  REQUIRE(text.exit_code == 0);
  for (const char* part : {"memory plan", "weights in f16", "padding_bytes", "tokens"}) {
    INFO(part);
    CHECK(text.out.find(part) != std::string::npos);
  }
}

TEST_CASE("a model with 8-bit weights runs from inspect to tokens") {
  TinyOptions options;
  options.encoding = Encoding::w8a8;
  const TinyFile file(options);
  const nlohmann::json inspected = llmbench_json({"inspect", file.path()});
  CHECK(schema_errors("inspect", inspected) == "");
  const auto& features = inspected.at("required_features");
  CHECK(std::count(features.begin(), features.end(), "w8a8") == 1);
  uint64_t matrices = 0;
  for (const nlohmann::json& weight : inspected.at("weights")) {
    if (weight.at("encoding") != "w8a8") continue;
    CHECK(weight.at("act_scale_in") == kTinyActScale);
    const uint64_t units = (weight.at("columns").get<uint64_t>() + 15) / 16;
    matrices += weight.at("rows").get<uint64_t>() * (16 * units + 8);
  }
  CHECK(inspected.at("file").at("weight_bytes_by_encoding").at("w8a8") == matrices);
  CHECK(llmbench({"inspect", file.path()}).out.find("input scale 0.03125") != std::string::npos);

  const nlohmann::json tested = llmbench_json({"selftest", file.path(), "-r", "1"});
  CHECK(tested.at("passed") == true);
  const nlohmann::json report = llmbench_json({"run", file.path(), "-p", "20", "-n", "4", "-r", "1"});
  CHECK(schema_errors("run", report) == "");
  // Decode reads each matrix once, beside vectors, head and states.
  CHECK(report.at("results").at(0).at("bytes_per_token").get<double>() >
        static_cast<double>(matrices));
  const nlohmann::json generated =
      llmbench_json({"generate", file.path(), "--tokens", tokens_text(20), "-n", "6"});
  CHECK(generated.at("tokens").size() == 6);
  const std::string tokens = file.folder() / "tokens.json";
  write_file(tokens, "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]");
  const nlohmann::json near = llmbench_json(
      {"perplexity", file.path(), "--text", tokens, "--against", model().path()});
  CHECK(near.at("kl").get<double>() > 0);
  CHECK(near.at("kl").get<double>() < 0.05);  // the same weights in f16
}

TEST_CASE("run and perplexity say how many inputs of a model are cut off, and how far") {
  TinyOptions options;
  options.encoding = Encoding::w8a8;
  const TinyFile file(options);
  const std::string cut = file.folder() / "cut.pocket", tokens = file.folder() / "tokens.json";
  // An importance of 1 lies where the codes end: nothing is cut off.
  copy_with_outliers(file.path(), cut, {2.5f, 1.0f, 7.25f});
  write_file(tokens, "[1,2,3,4,5,6,7,8]");
  int64_t linears = 0;
  const Package package = Package::open(cut);
  for (const Weight& weight : package.manifest().weights) {
    linears += weight.outlier && weight.outlier->importance > 1.0f;
  }
  REQUIRE(linears > 1);
  const std::string json = file.folder() / "report.json";
  const std::vector<std::string> commands[] = {
      {"run", "", "-p", "4", "-n", "2", "-r", "1", "--json", json},
      {"perplexity", "", "--text", tokens, "--json", json}};
  for (std::vector<std::string> command : commands) {
    INFO(command[0]);
    command[1] = cut;
    const CommandResult said = llmbench(command);
    INFO(said.err);
    REQUIRE(said.exit_code == 0);
    CHECK(said.err.find("inputs of " + std::to_string(linears) + " w8a8 linears are cut off") !=
          std::string::npos);
    CHECK(said.err.find("1/7.25") != std::string::npos);
    CHECK(said.err.find("--w8a8-clip-threshold") != std::string::npos);
    const nlohmann::json report = nlohmann::json::parse(read_file(json));
    CHECK(schema_errors(command[0], report) == "");
    CHECK(report.at("cut_outliers").at("linears") == linears);
    CHECK(report.at("cut_outliers").at("importance") == 7.25);
  }
  const CommandResult whole = llmbench({"perplexity", file.path(), "--text", tokens, "--json", json});
  REQUIRE(whole.exit_code == 0);
  CHECK(whole.err.find("cut off") == std::string::npos);
  CHECK(nlohmann::json::parse(read_file(json)).at("cut_outliers").at("linears") == 0);
}

TEST_CASE("devices --measure: bandwidth and arithmetic that the report's shares refer to") {
  const nlohmann::json document = llmbench_json({"devices", "--measure"});
  CHECK(schema_errors("devices", document) == "");
  const nlohmann::json& measured = document.at("devices").at(0).at("measured");
  CHECK(measured.at("read").at("bytes_per_second") > 1e8);
  CHECK(measured.at("fp32").at("operations_per_second") > 1e8);
  for (const char* kind : {"fp16", "int8_dot"}) {
    const nlohmann::json& peak = measured.at(kind);
    CHECK((peak.at("operations_per_second") > 0) == peak.at("skipped").get<std::string>().empty());
  }
}

TEST_CASE("devices: every device with limits and priorities") {
  const nlohmann::json document = llmbench_json({"devices"});
  CHECK(schema_errors("devices", document) == "");
  CHECK(document.at("devices").at(0).at("priorities").contains("low"));
  const CommandResult text = llmbench({"devices"});
  CHECK(text.exit_code == 0);
  CHECK(text.out.find("max_invocations") != std::string::npos);
}

}  // namespace pocket::test
