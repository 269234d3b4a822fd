#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/bench/output.h"
#include "runtime/bench/report.h"

namespace pocket::bench {
namespace {

using Row = std::vector<std::string>;

// Columns as wide as their widest cell, numbers to the right.
std::string align(const std::vector<Row>& rows) {
  std::vector<size_t> widths;
  for (const Row& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const Row& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      text += (i ? "  " : "") + std::string(widths[i] - row[i].size(), ' ') + row[i];
    }
    text += "\n";
  }
  return text;
}

// "123.4 [120.1, 126.0]"
std::string with_interval(const MedianInterval& value, int digits) {
  return fixed(value.median, digits) + " [" + fixed(value.interval.low, digits) + ", " +
         fixed(value.interval.high, digits) + "]";
}

std::string memory_line(const nlohmann::json& sums) {
  std::string text;
  for (const auto& [kind, bytes] : sums.items()) {
    if (kind == "total" || bytes == 0) continue;
    text += (text.empty() ? "" : ", ") + kind + " " + bytes_text(bytes.get<uint64_t>());
  }
  return text;
}

// What --priority asked for and what the driver granted; empty when nothing was asked.
std::string priority_line(const nlohmann::json& environment) {
  if (!environment.contains("priority")) return "";
  const nlohmann::json& priority = environment.at("priority");
  const std::string asked = priority.at("requested"), granted = priority.at("granted");
  if (asked == "default") return "";
  const std::string note = priority.at("note");
  return "priority " + asked + " asked for, " + granted + " granted" +
         (note.empty() ? "" : ": " + note) + "\n";
}

std::string start_up_line(const char* name, const StartUp& start) {
  return std::string(name) + fixed(start.total(), 3) + " s to the first token: device " +
         fixed(start.device_seconds, 3) + ", load " + fixed(start.load_seconds, 3) + ", token " +
         fixed(start.first_token_seconds, 3) + "; " + std::to_string(start.pipelines) +
         " pipelines in " + fixed(start.pipeline_seconds, 3) + " s, " +
         (start.cache_loaded ? "from the cache" : "no cache") + "\n";
}

std::string submissions_line(const Report& report) {
  if (report.options.common.max_submit_ms == 0) return "";
  const auto part = [](const char* name, const SubmissionTimes& times) {
    return std::string(name) + " in " + std::to_string(times.submissions) +
           " submissions, the longest " + fixed(times.longest_ms, 2) + " ms" +
           (times.over != 0 ? " (" + std::to_string(times.over) + " single segments exceed it)"
                            : "");
  };
  return "submit   at most " + fixed(report.options.common.max_submit_ms, 2) +
         " ms: " + part("decode", report.decode_submissions) + "; " +
         part("a chunk", report.prefill_submissions) + "\n";
}

}  // namespace

std::string to_table(const Report& report) {
  const nlohmann::json& device = report.environment.at("device");
  std::string text = "device   " + device.at("name").get<std::string>() + ", " +
                     device.at("driver").get<std::string>() + "\n";
  text += "model    " + report.environment.at("model").at("path").get<std::string>() +
          ", context " + std::to_string(report.context) + ", chunk " +
          std::to_string(report.chunk);
  if (report.options.common.precision != 0) {
    text += ", read with " + std::to_string(report.options.common.precision) + " bits";
  }
  text += "\n";
  text += "check    self-test passed: " + std::to_string(report.self_test.entries.size()) +
          " kernels in use, worst error " + scientific(report.self_test.worst_error()) + "\n";
  text += priority_line(report.environment) + submissions_line(report);
  const Peaks& peaks = report.peaks;
  text += peaks.copy.skipped.empty()
              ? "probes   copy " + fixed(peaks.copy.bytes_per_second / 1e9, 2) + " GB/s"
              : "probes   copy skipped: " + peaks.copy.skipped;
  text += peaks.read.skipped.empty() ? ", read " + fixed(peaks.read.per_second / 1e9, 2) +
                                           " GB/s over " + bytes_text(peaks.read.work)
                                     : ", read skipped: " + peaks.read.skipped;
  text += ", fp32 " + fixed(peaks.fp32.per_second / 1e9, 1) + " GFLOP/s";
  text += ", empty dispatch " + fixed(peaks.empty_dispatch.nanoseconds / 1e3, 1) + " us\n\n";

  std::vector<Row> rows = {{"prompt", "new", "prefill tok/s", "decode tok/s", "first token s",
                            "MB/token", "GB/s", "of copy", "of read", "prefill GFLOP/s",
                            "of fp32", "logits hash"}};
  const auto percent = [](const std::string& skipped, double share) {
    return skipped.empty() ? fixed(100 * share, 1) + " %" : "-";
  };
  for (const Measurement& measurement : report.measurements) {
    const Summary summary = summarize(report, measurement);
    rows.push_back({std::to_string(measurement.prompt), std::to_string(measurement.generated),
                    with_interval(summary.prefill_tokens_per_second, 1),
                    with_interval(summary.decode_tokens_per_second, 1),
                    fixed(summary.first_token_seconds.median, 3),
                    fixed(summary.bytes_per_token / 1e6, 2),
                    fixed(summary.bytes_per_second / 1e9, 2),
                    percent(peaks.copy.skipped, summary.share_of_copy),
                    percent(peaks.read.skipped, summary.share_of_read),
                    fixed(summary.prefill_flops_per_second / 1e9, 2),
                    fixed(100 * summary.share_of_fp32, 1) + " %",
                    hex16(measurement.repetitions.front().logits_hash)});
  }
  text += align(rows) + "median and " +
          (report.options.repetitions < 6 ? "range" : "95 % interval") + " over " +
          std::to_string(report.options.repetitions) + " repetitions\n\n";

  std::vector<Row> costs = {{"prompt", "submits/token", "dispatches/token", "barriers/token",
                             "x empty dispatch", "decode ms/token", "host us/token",
                             "waiting us/token", "decode GFLOP/s"}};
  for (const Measurement& measurement : report.measurements) {
    const Summary summary = summarize(report, measurement);
    costs.push_back({std::to_string(measurement.prompt), fixed(summary.submissions_per_token, 0),
                     fixed(summary.dispatches_per_token, 0), fixed(summary.barriers_per_token, 0),
                     fixed(summary.dispatch_seconds_per_token * 1e3, 2) + " ms",
                     fixed(1e3 / summary.decode_tokens_per_second.median, 2),
                     fixed(summary.host_work_microseconds, 1),
                     fixed(summary.host_wait_microseconds, 1),
                     fixed(summary.decode_flops_per_second / 1e9, 2)});
  }
  text += align(costs) + "\n";

  text += "memory planned  " + memory_line(report.memory.at("planned")) + ", total " +
          bytes_text(report.memory.at("planned").at("total").get<uint64_t>()) + "\n";
  text += "memory peak     " + memory_line(report.memory.at("peak")) + ", in blocks " +
          bytes_text(report.memory.at("peak_blocks").get<uint64_t>()) +
          ", read from the mapped file " +
          bytes_text(report.memory.at("imported").get<uint64_t>()) + ", host resident " +
          bytes_text(report.memory.at("host_peak_resident").get<uint64_t>()) + "\n";
  text +=
      start_up_line("start-up cold  ", report.cold) + start_up_line("start-up warm  ", report.warm);
  text += "tuned    ";
  if (!report.tuned.note.empty()) {
    text += report.tuned.note + "\n";
  } else if (!report.tuned.configs || report.tuned.configs->rows().empty()) {
    text += "nothing; llmbench tune MODEL measures the rows on this device\n";
  } else {
    text += std::to_string(tuned_rows_in_use(report)) + " of the kernels below use rows of " +
            report.tuned.path + "\n";
  }
  text += "kernels\n";
  for (const ConfigUse& use : report.kernels) {
    text += std::string("  ") + (use.phase == Phase::decode ? "decode " : "prefill") + "  " +
            std::to_string(use.dispatches) + " x " + use.shader + "  " + use.config + "\n";
  }
  return text;
}

}  // namespace pocket::bench
