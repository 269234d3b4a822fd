// What `llmbench run` found out, as one record: the JSON document, the CSV rows and the table are
// three views of it. The JSON's schema is test/schemas/run.json.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "runtime/bench/cut_outliers.h"
#include "runtime/bench/measure.h"
#include "runtime/bench/options.h"
#include "runtime/bench/peaks.h"
#include "runtime/bench/statistics.h"
#include "runtime/bench/tuned_cache.h"
#include "runtime/bench/work_model.h"
#include "runtime/kernels/selftest.h"

namespace pocket::bench {

struct MedianInterval {
  double median = 0;
  Interval interval;
};

// One prompt length, derived from its repetitions.
struct Summary {
  MedianInterval first_token_seconds, prefill_tokens_per_second, decode_tokens_per_second;
  double bytes_per_token = 0;   // read and written by one decode step, by the plan's model
  double bytes_per_second = 0;  // bytes_per_token x median decode speed
  double share_of_copy = 0;     // of the measured copy bandwidth; 0 when that was skipped
  double share_of_read = 0;     // of the measured read bandwidth; 0 when that was skipped
  double prefill_flops_per_second = 0;
  double share_of_fp32 = 0;  // of prefill, of the measured multiply-adds in fp32; 0: skipped
  double decode_flops_per_second = 0;
  double dispatches_per_token = 0, barriers_per_token = 0, submissions_per_token = 0;
  double dispatch_seconds_per_token = 0;  // dispatches x measured empty dispatch
  double host_work_microseconds = 0, host_wait_microseconds = 0;  // per decode step, medians
};

// From nothing to the first token of a prompt of one token.
struct StartUp {
  double device_seconds = 0, load_seconds = 0, first_token_seconds = 0;
  double pipeline_seconds = 0;  // of load and first token: creating pipelines
  size_t pipelines = 0;
  bool cache_loaded = false;  // the pipeline cache on disk was used
  double total() const { return device_seconds + load_seconds + first_token_seconds; }
};

struct Report {
  RunOptions options;
  nlohmann::json environment;  // program, model, device, limits, priority
  int64_t context = 0, chunk = 0;
  SelftestResult self_test;
  TunedFile tuned;  // rows of llmbench tune that the kernels could choose from
  Peaks peaks;
  nlohmann::json memory;                // planned and peak, by kind
  CutOutliers cut;                      // of w8a8 linears
  StepCost decode_step, prefill_chunk;  // as planned: attention over the whole states
  AttentionShare attention;
  std::vector<ConfigUse> kernels;
  StartUp cold, warm;                                       // without and with the pipeline cache
  SubmissionTimes decode_submissions, prefill_submissions;  // with --max-submit-ms
  std::vector<Measurement> measurements;
};

Summary summarize(const Report&, const Measurement&);
uint64_t combined_logits_hash(const Report&);

nlohmann::json to_json(const Report&);
nlohmann::json to_json(const SelftestResult&);
std::string to_csv(const Report&);    // one row per repetition, with a header
std::string to_table(const Report&);  // for people

nlohmann::json environment_json(const Device&, const Package&, const CommonOptions&);
nlohmann::json memory_json(Device&, const Engine&);
SelftestOptions selftest_options(const CommonOptions&, int repetitions);
// Of the rows in use, those that were tuned.
size_t tuned_rows_in_use(const Report&);
std::string scientific(double value);  // "1.2e-05"

}  // namespace pocket::bench
