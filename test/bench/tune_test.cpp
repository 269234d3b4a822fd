// llmbench tune and what the next run makes of it, with a cache folder that goes away.
#include "test/bench/llmbench.h"
#include "test/support/catch.h"
#include "test/support/schema.h"

namespace pocket::test {
namespace {

struct Cache {
  TemporaryFolder folder;
  TinyFile model{TinyOptions{.encoding = Encoding::m0e4}};
  std::string environment = "XDG_CACHE_HOME=" + folder.path().string();

  // Every row of every kind of work is hundreds of pipelines: the tests tune a part.
  nlohmann::json tune(const std::string& only) {
    return llmbench_json({"tune", model.path(), "-r", "1", "--cases", "1", "--only", only},
                         environment);
  }
  nlohmann::json run(const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments = {"run", model.path(), "-p", "9", "-n", "3", "-r", "1"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return llmbench_json(arguments, environment);
  }
};

size_t tuned_kernels(const nlohmann::json& report) {
  size_t count = 0;
  for (const nlohmann::json& kernel : report.at("kernels")) {
    const std::string config = kernel.at("config");
    count += config.find("tuned on this device") != std::string::npos ? 1 : 0;
  }
  return count;
}

}  // namespace

TEST_CASE("tune: stored rows are used by the next run, which says so by their origin") {
  Cache cache;
  const nlohmann::json untuned = cache.run();
  CHECK(tuned_kernels(untuned) == 0);
  // The self-test of the run has filled the cache, which was empty.
  const nlohmann::json& start = untuned.at("start_up");
  CHECK(start.at("cold").at("cache_loaded") == false);
  CHECK(start.at("warm").at("cache_loaded") == true);
  CHECK(start.at("cold").at("pipelines") == start.at("warm").at("pipelines"));
  for (const char* kind : {"cold", "warm"}) {
    const nlohmann::json& times = start.at(kind);
    CHECK(times.at("total_seconds").get<double>() ==
          Approx(times.at("device_seconds").get<double>() + times.at("load_seconds").get<double>() +
                 times.at("first_token_seconds").get<double>()));
    CHECK(times.at("pipeline_seconds") > 0);
  }
  const nlohmann::json tuned = cache.tune(", 1 token");
  CHECK(schema_errors("tune", tuned) == "");
  CHECK(tuned.at("shapes").size() >= 4);
  for (const nlohmann::json& shape : tuned.at("shapes")) {
    CHECK(shape.at("key").get<std::string>().find(", 1 token") != std::string::npos);
  }
  CHECK(tuned.at("rows_stored") == tuned.at("shapes").size());
  const std::string path = tuned.at("path");
  CHECK(path.find(cache.folder.path().string() + "/pocketformer/tuned-") == 0);

  const nlohmann::json report = cache.run();
  CHECK(schema_errors("run", report) == "");
  CHECK(tuned_kernels(report) >= 4);
  CHECK(report.at("tuned").at("rows_in_use") == tuned_kernels(report));
  CHECK(report.at("tuned").at("path") == path);
  CHECK(report.at("self_test").at("passed") == true);
  CHECK(tuned_kernels(cache.run({"--no-tuned"})) == 0);
  // Rows measured on the whole device say nothing about a lowered one.
  const nlohmann::json lowered =
      cache.run({"--limits", POCKET_SOURCE_DIR "/test/limits/no-subgroups.json"});
  CHECK(tuned_kernels(lowered) == 0);
  CHECK(lowered.at("tuned").at("note") == "");
  const CommandResult text = llmbench(
      {"run", cache.model.path(), "-p", "9", "-n", "3", "-r", "1", "--quiet"}, cache.environment);
  CHECK(text.out.find("of the kernels below use rows of " + path) != std::string::npos);
}

TEST_CASE("tune adds to what is stored, and says when --only leaves nothing") {
  Cache cache;
  const nlohmann::json first = cache.tune("norm"), second = cache.tune("attention_decode");
  CHECK(second.at("rows_stored") ==
        first.at("shapes").size() + second.at("shapes").size());
  const CommandResult nothing =
      llmbench({"tune", cache.model.path(), "--only", "gemv7"}, cache.environment);
  CHECK(nothing.exit_code == 2);
  CHECK(nothing.err.find("'gemv7'") != std::string::npos);
}

TEST_CASE("a damaged or foreign list of tuned rows is ignored with a sentence") {
  Cache cache;
  const std::string path = cache.tune("norm").at("path");
  const nlohmann::json good = nlohmann::json::parse(read_file(path));
  const auto ignored = [&](const std::string& text, const char* reason) {
    write_file(path, text);
    const nlohmann::json report = cache.run();
    CAPTURE(text.substr(0, 200), report.at("tuned").at("note"));
    CHECK(tuned_kernels(report) == 0);
    const std::string note = report.at("tuned").at("note");
    CHECK(note.find(reason) != std::string::npos);
    CHECK(note.find("run llmbench tune again") != std::string::npos);
  };
  ignored("", "no list of tuned rows");
  ignored("{\"schema\":", "no list of tuned rows");
  nlohmann::json bad = good;
  bad["identity"] = "0123456789abcdef";
  ignored(bad.dump(), "another device");
  bad = good;
  bad["rows"].begin().value()["lanes"] = 96;
  ignored(bad.dump(), "hash differs");
  write_file(path, good.dump());
  CHECK(tuned_kernels(cache.run()) > 0);
}

}  // namespace pocket::test
