#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>

#include "runtime/bench/commands.h"
#include "runtime/bench/open.h"
#include "runtime/bench/output.h"
#include "runtime/bench/report.h"
#include "runtime/vulkan/pipeline.h"

namespace pocket::bench {
namespace {

constexpr int kSelfTestRepetitions = 2;

// Prompt lengths and a context that hold together: what was asked for must fit, what was not is
// cut to the model.
void settle_lengths(RunOptions& options, const Program& program) {
  const bool asked = !options.prompts.empty();
  const int64_t most = options.common.context    ? options.common.context
                       : program.max_context > 0 ? program.max_context
                                                 : INT64_MAX;
  if (!asked) {
    for (const int64_t prompt : {64, 256, 1024}) {
      if (prompt + options.generate <= most) options.prompts.push_back(prompt);
    }
    if (options.prompts.empty() && most > options.generate) {
      options.prompts.push_back(most - options.generate);
    }
  }
  const int64_t longest = options.prompts.empty()
                              ? 1
                              : *std::max_element(options.prompts.begin(), options.prompts.end());
  if (longest + options.generate > most) {
    throw Error(ExitCode::usage, "a prompt of " + std::to_string(longest) + " and " +
                                     std::to_string(options.generate) +
                                     " tokens more exceed the context of " + std::to_string(most) +
                                     "; lower -p or -n");
  }
  if (options.common.context == 0) {
    options.common.context = std::max(program.default_context, longest + options.generate);
  }
}

void check_device(const RunOptions& options, const Package& package, const Instance& instance,
                  Report& report) {
  Device device(instance, device_options(options.common));
  report.environment = environment_json(device, package, options.common);
  progress(options.common.quiet, "self-test on " + device.info().name);
  report.tuned = open_tuned(options.common, device);
  SelftestOptions how = selftest_options(options.common, kSelfTestRepetitions);
  how.tuned = report.tuned.configs.get();
  report.self_test = pocket::selftest(device, package, how);
  device.pipelines().save_cache();
  if (!report.self_test.passed()) {
    throw Error(
        ExitCode::wrong_result,
        "no speed is reported because the self-test did not pass: " + report.self_test.failure());
  }
}

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// A device and an engine on it, timed up to the first token.
struct Started {
  Started(const Instance& instance, const DeviceOptions& device_options, Package package,
          const EngineOptions& engine_options)
      : device(instance, device_options) {
    start.device_seconds = seconds_since(begin);
    begin = std::chrono::steady_clock::now();
    engine.emplace(device, std::move(package), engine_options);
    start.load_seconds = seconds_since(begin);
    begin = std::chrono::steady_clock::now();
    const int32_t token = 0;
    engine->prefill(std::span(&token, 1));
    start.first_token_seconds = seconds_since(begin);
    start.pipeline_seconds = static_cast<double>(device.pipelines().create_ns()) / 1e9;
    start.pipelines = device.pipelines().pipeline_count();
    start.cache_loaded = device.pipelines().cache_was_loaded();
    engine->reset();
  }

  StartUp start;
  std::chrono::steady_clock::time_point begin = std::chrono::steady_clock::now();
  Device device;
  std::optional<Engine> engine;
};

void measure_cold_start(const RunOptions& options, const Instance& instance, Report& report) {
  progress(options.common.quiet, "starting without the pipeline cache");
  DeviceOptions cold = device_options(options.common);
  cold.cache_folder = "-";
  EngineOptions engine = engine_options(options.common);
  engine.message = {};  // the same is said again when the measured engine loads
  report.cold = Started(instance, cold, open_package(options.model, options.common),
                        with_tuned(engine, report.tuned))
                    .start;
}

void measure_model(const RunOptions& options, Package package, const Instance& instance,
                   Report& report) {
  Started started(instance, device_options(options.common), std::move(package),
                  with_tuned(engine_options(options.common), report.tuned));
  report.warm = started.start;
  Device& device = started.device;
  Engine& engine = *started.engine;
  for (const int64_t prompt : options.prompts) {
    report.measurements.push_back(
        measure(engine, prompt, options.generate, options.warmup, options.repetitions,
                [&](const std::string& sentence) { progress(options.common.quiet, sentence); }));
  }
  report.context = engine.context();
  report.chunk = engine.chunk();
  report.decode_step = engine.step_cost(Phase::decode);
  report.prefill_chunk = engine.step_cost(Phase::prefill);
  report.attention = attention_share(engine.manifest().program);
  report.kernels = engine.config_uses();
  report.decode_submissions = engine.submission_times(Phase::decode);
  report.prefill_submissions = engine.submission_times(Phase::prefill);
  report.memory = memory_json(device, engine);
}

}  // namespace

ExitCode run(const RunOptions& asked) {
  RunOptions options = asked;
  check_writable(options.json);
  check_writable(options.csv);
  Package package = open_package(options.model, options.common);
  settle_lengths(options, package.manifest().program);

  Report report;
  report.cut = cut_outliers(package.manifest());
  if (report.cut.linears > 0) progress(options.common.quiet, warning(report.cut));
  const Instance instance;
  check_device(options, package, instance, report);
  measure_cold_start(options, instance, report);
  measure_model(options, std::move(package), instance, report);
  {
    // Last and on a device of its own, so that the probes' memory does not count as the model's.
    progress(options.common.quiet, "measuring the device's bandwidth, arithmetic and dispatches");
    Device device(instance, device_options(options.common));
    report.peaks = measure_peaks(device, PeakChoice::for_shares);
    device.pipelines().save_cache();
  }
  report.options = options;

  if (!options.json.empty()) write_json(options.json, to_json(report));
  if (!options.csv.empty()) write_output(options.csv, to_csv(report));
  if (options.json != "-" && options.csv != "-") write_output("-", to_table(report));
  return ExitCode::ok;
}

}  // namespace pocket::bench
