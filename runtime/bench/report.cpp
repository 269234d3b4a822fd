#include "runtime/bench/report.h"

#include <sys/resource.h>
#include <xxhash.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "runtime/bench/output.h"
#include "runtime/bench/version.h"
#include "runtime/vulkan/memory.h"
#include "runtime/vulkan/pipeline.h"

namespace pocket::bench {
namespace {

template <typename Value>
MedianInterval over_repetitions(const Measurement& measurement, Value&& value) {
  std::vector<double> samples;
  for (const Repetition& repetition : measurement.repetitions) samples.push_back(value(repetition));
  return {median(samples), median_interval(samples)};
}

nlohmann::json to_json(const MedianInterval& value) {
  return {{"median", value.median}, {"low", value.interval.low}, {"high", value.interval.high}};
}

nlohmann::json to_json(const StepCost& cost) {
  return {{"dispatches", cost.dispatches},       {"barriers", cost.barriers},
          {"segments", cost.segments},           {"bytes_read", cost.bytes_read},
          {"bytes_written", cost.bytes_written}, {"flops", cost.flops}};
}

nlohmann::json to_json(const StartUp& start) {
  return {{"device_seconds", start.device_seconds},
          {"load_seconds", start.load_seconds},
          {"first_token_seconds", start.first_token_seconds},
          {"total_seconds", start.total()},
          {"pipeline_seconds", start.pipeline_seconds},
          {"pipelines", start.pipelines},
          {"cache_loaded", start.cache_loaded}};
}

nlohmann::json to_json(const Repetition& repetition) {
  return {{"first_token_ns", repetition.first_token_ns},
          {"decode_ns", repetition.decode_ns},
          {"token_ns", repetition.token_ns},
          {"decode_steps", repetition.decode_steps},
          {"host_work_ns", repetition.host_work_ns},
          {"host_wait_ns", repetition.host_wait_ns},
          {"submits", repetition.submits},
          {"dispatches", repetition.dispatches},
          {"barriers", repetition.barriers},
          {"plan_evaluations", repetition.plan_evaluations},
          {"logits_hash", hex16(repetition.logits_hash)}};
}

nlohmann::json result_json(const Report& report, const Measurement& measurement) {
  const Summary summary = summarize(report, measurement);
  nlohmann::json samples = nlohmann::json::array();
  for (const Repetition& repetition : measurement.repetitions) {
    samples.push_back(to_json(repetition));
  }
  return {{"prompt", measurement.prompt},
          {"generated", measurement.generated},
          {"first_token_seconds", to_json(summary.first_token_seconds)},
          {"prefill_tokens_per_second", to_json(summary.prefill_tokens_per_second)},
          {"decode_tokens_per_second", to_json(summary.decode_tokens_per_second)},
          {"bytes_per_token", summary.bytes_per_token},
          {"bytes_per_second", summary.bytes_per_second},
          {"share_of_copy_bandwidth", summary.share_of_copy},
          {"share_of_read_bandwidth", summary.share_of_read},
          {"prefill_flops_per_second", summary.prefill_flops_per_second},
          {"prefill_share_of_fp32_peak", summary.share_of_fp32},
          {"decode_flops_per_second", summary.decode_flops_per_second},
          {"dispatches_per_token", summary.dispatches_per_token},
          {"barriers_per_token", summary.barriers_per_token},
          {"submissions_per_token", summary.submissions_per_token},
          {"empty_dispatch_seconds_per_token", summary.dispatch_seconds_per_token},
          {"host_work_microseconds_per_step", summary.host_work_microseconds},
          {"host_wait_microseconds_per_step", summary.host_wait_microseconds},
          {"logits_hash", hex16(measurement.repetitions.front().logits_hash)},
          {"samples", samples}};
}

}  // namespace

std::string scientific(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.1e", value);
  return text;
}

Summary summarize(const Report& report, const Measurement& measurement) {
  const auto prompt = static_cast<double>(measurement.prompt);
  const auto decoded = static_cast<double>(measurement.generated - 1);
  const auto per_second = [](double count, uint64_t nanoseconds) {
    return count * 1e9 / static_cast<double>(std::max<uint64_t>(nanoseconds, 1));
  };
  const auto per_step = [](uint64_t nanoseconds, const Repetition& repetition) {
    return static_cast<double>(nanoseconds) / 1e3 /
           static_cast<double>(std::max<uint64_t>(repetition.decode_steps, 1));
  };
  Summary summary;
  summary.first_token_seconds = over_repetitions(measurement, [](const Repetition& repetition) {
    return static_cast<double>(repetition.first_token_ns) / 1e9;
  });
  summary.prefill_tokens_per_second = over_repetitions(
      measurement, [&](const Repetition& r) { return per_second(prompt, r.first_token_ns); });
  summary.decode_tokens_per_second = over_repetitions(
      measurement, [&](const Repetition& r) { return per_second(decoded, r.decode_ns); });
  summary.host_work_microseconds = over_repetitions(measurement, [&](const Repetition& r) {
                                     return per_step(r.host_work_ns, r);
                                   }).median;
  summary.host_wait_microseconds = over_repetitions(measurement, [&](const Repetition& r) {
                                     return per_step(r.host_wait_ns, r);
                                   }).median;

  const double speed = summary.decode_tokens_per_second.median;
  const Work work =
      work_of(report.attention, report.decode_step, report.prefill_chunk, report.context,
              report.chunk, measurement.prompt, measurement.generated);
  summary.bytes_per_token = work.bytes_per_token;
  summary.bytes_per_second = work.bytes_per_token * speed;
  const auto share = [](double rate, double peak) { return peak > 0 ? rate / peak : 0; };
  summary.share_of_copy = share(summary.bytes_per_second, report.peaks.copy.bytes_per_second);
  summary.share_of_read = share(summary.bytes_per_second, report.peaks.read.per_second);
  summary.decode_flops_per_second = work.flops_per_token * speed;
  summary.prefill_flops_per_second = work.prefill_flops / summary.first_token_seconds.median;
  summary.share_of_fp32 = share(summary.prefill_flops_per_second, report.peaks.fp32.per_second);
  summary.dispatches_per_token = report.decode_step.dispatches;
  summary.barriers_per_token = report.decode_step.barriers;
  summary.submissions_per_token =
      over_repetitions(measurement, [](const Repetition& r) {
        return static_cast<double>(r.submits) /
               static_cast<double>(std::max<uint64_t>(r.decode_steps, 1));
      }).median;
  summary.dispatch_seconds_per_token =
      summary.dispatches_per_token * report.peaks.empty_dispatch.nanoseconds / 1e9;
  return summary;
}

uint64_t combined_logits_hash(const Report& report) {
  std::vector<uint64_t> hashes;
  for (const Measurement& measurement : report.measurements) {
    hashes.push_back(measurement.repetitions.front().logits_hash);
  }
  return XXH64(hashes.data(), hashes.size() * sizeof(uint64_t), 0);
}

nlohmann::json to_json(const SelftestResult& result) {
  nlohmann::json entries = nlohmann::json::array();
  for (const SelftestEntry& entry : result.entries) {
    entries.push_back({{"kernel", entry.kernel},
                       {"config", entry.config},
                       {"label", entry.label},
                       {"shape", entry.shape},
                       {"runs", entry.runs},
                       {"error", entry.error},
                       {"tolerance", entry.tolerance},
                       {"passed", entry.ok()}});
  }
  return {{"passed", result.passed()}, {"worst_error", result.worst_error()}, {"entries", entries}};
}

nlohmann::json environment_json(const Device& device, const Package& package,
                                const CommonOptions& common) {
  const std::string manifest = pocket::to_json(package.manifest()).dump();
  return {{"program",
           {{"version", version_text()},
            {"git", git_text()},
            {"build_type", build_type_text()},
            {"compiler", compiler_text()},
            {"shader_compiler", shader_compiler_text()}}},
          {"model",
           {{"path", package.path()},
            {"file_bytes", package.file_bytes()},
            // The manifest holds the hash of every shard, so this one stands for the whole file.
            {"hash", hex16(XXH64(manifest.data(), manifest.size(), 0))}}},
          {"device", pocket::to_json(device.info())},
          {"limits", pocket::to_json(device.limits())},
          {"priority",
           {{"requested", common.priority},
            {"granted", queue_priority_name(device.granted_priority())},
            {"note", device.priority_note()}}}};
}

nlohmann::json memory_json(Device& device, const Engine& engine) {
  const MemorySums& planned = engine.planned_memory();
  nlohmann::json peak;
  for (MemoryUse use : {MemoryUse::weights, MemoryUse::kv, MemoryUse::arena, MemoryUse::staging}) {
    peak[memory_use_name(use)] = device.memory().usage(use).peak;
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return {{"planned",
           {{"weights", planned.weights},
            {"rope", planned.rope},
            {"kv", planned.kv},
            {"arena", planned.arena},
            {"scratch", planned.scratch},
            {"control", planned.control},
            {"readback", planned.readback},
            {"staging", planned.staging},
            {"total", planned.total()}}},
          {"peak", peak},
          {"peak_blocks", device.memory().peak_block_bytes()},
          {"imported", device.memory().imported_bytes()},
          {"pipelines", device.pipelines().pipeline_count()},
          {"host_peak_resident", static_cast<uint64_t>(usage.ru_maxrss) * 1024}};
}

nlohmann::json to_json(const Report& report) {
  nlohmann::json document = report.environment;
  document["schema"] = "pocketformer.run";
  document["version"] = 1;
  nlohmann::json prompts = nlohmann::json::array(), results = nlohmann::json::array();
  for (const Measurement& measurement : report.measurements) {
    prompts.push_back(measurement.prompt);
    results.push_back(result_json(report, measurement));
  }
  document["options"] = {{"prompts", prompts},
                         {"generate", report.options.generate},
                         {"repetitions", report.options.repetitions},
                         {"warmup", report.options.warmup},
                         {"context", report.context},
                         {"chunk", report.chunk},
                         {"accumulate", report.options.common.accumulate},
                         {"precision", report.options.common.precision},
                         {"limits_file", report.options.common.limits_file}};
  document["self_test"] = to_json(report.self_test);
  document["probes"] = to_json(report.peaks);
  document["memory"] = report.memory;
  document["cut_outliers"] = to_json(report.cut);
  document["decode_step"] = to_json(report.decode_step);
  document["prefill_chunk"] = to_json(report.prefill_chunk);
  nlohmann::json kernels = nlohmann::json::array();
  for (const ConfigUse& use : report.kernels) {
    kernels.push_back({{"phase", use.phase == Phase::decode ? "decode" : "prefill"},
                       {"shader", use.shader},
                       {"config", use.config},
                       {"dispatches", use.dispatches}});
  }
  document["kernels"] = kernels;
  const auto submissions = [](const SubmissionTimes& times) -> nlohmann::json {
    return {{"submissions", times.submissions},
            {"over_limit", times.over},
            {"longest_ms", times.longest_ms}};
  };
  document["start_up"] = {{"cold", to_json(report.cold)}, {"warm", to_json(report.warm)}};
  document["submission_limit"] = {{"max_submit_ms", report.options.common.max_submit_ms},
                                  {"decode_step", submissions(report.decode_submissions)},
                                  {"prefill_chunk", submissions(report.prefill_submissions)}};
  document["tuned"] = {{"path", report.tuned.path},
                       {"rows", report.tuned.configs ? report.tuned.configs->rows().size() : 0},
                       {"rows_in_use", tuned_rows_in_use(report)},
                       {"note", report.tuned.note}};
  document["interval_method"] = interval_method(report.measurements.front().repetitions.size());
  document["results"] = results;
  document["logits_hash"] = hex16(combined_logits_hash(report));
  return document;
}

size_t tuned_rows_in_use(const Report& report) {
  return static_cast<size_t>(std::count_if(
      report.kernels.begin(), report.kernels.end(),
      [](const ConfigUse& use) { return use.config.find(kTunedOrigin) != std::string::npos; }));
}

SelftestOptions selftest_options(const CommonOptions& common, int repetitions) {
  SelftestOptions options;
  options.context = common.context;
  options.chunk = common.chunk;
  options.accumulate = accumulate_from_name(common.accumulate);
  options.repetitions = repetitions;
  return options;
}

}  // namespace pocket::bench
