#include "runtime/bench/report.h"

#include <nlohmann/json.hpp>

#include "test/support/catch.h"
#include "test/support/schema.h"
#include "test/vulkan/fixture.h"

namespace pocket::test {
namespace {

bench::Report made_up() {
  bench::Report report;
  report.environment = {
      {"model", {{"path", "a, \"b\".pocket"}, {"file_bytes", 1000}}},
      {"device", {{"name", "Adreno"}, {"driver", "driver 1"}}},
  };
  report.memory = {{"planned", {{"weights", 2 << 20}, {"total", 2 << 20}}},
                   {"peak", {{"weights", 2 << 20}}},
                   {"peak_blocks", 4 << 20},
                   {"imported", 1 << 20},
                   {"host_peak_resident", 100 << 20}};
  report.context = 128;
  report.chunk = 32;
  report.options.repetitions = 3;
  report.peaks.copy.bytes_per_second = 10e9;
  report.peaks.read.per_second = 5e9;
  report.peaks.fp32.per_second = 100e9;
  report.peaks.empty_dispatch = {40000, 100};
  report.decode_step = {.dispatches = 50,
                        .barriers = 40,
                        .bytes_read = 9'000'000,
                        .bytes_written = 1'000'000,
                        .flops = 20'000'000};
  report.prefill_chunk = {.flops = 1'000'000'000};
  bench::Measurement measurement{70, 11, {}};
  for (const uint64_t scale : {2, 1, 3}) {
    bench::Repetition repetition;
    repetition.first_token_ns = 100'000'000 * scale;
    repetition.token_ns.assign(10, 5'000'000 * scale);
    repetition.decode_ns = 50'000'000 * scale;
    repetition.decode_steps = 20;
    repetition.submits = 60;
    repetition.host_work_ns = 60'000 * scale;
    repetition.host_wait_ns = 80'000'000;
    repetition.logits_hash = 0xabc;
    measurement.repetitions.push_back(repetition);
  }
  report.measurements.push_back(measurement);
  return report;
}

}  // namespace

TEST_CASE("a summary follows from its repetitions by arithmetic") {
  const bench::Report report = made_up();
  const bench::Summary summary = bench::summarize(report, report.measurements[0]);
  CHECK(summary.first_token_seconds.median == Approx(0.2));
  CHECK(summary.prefill_tokens_per_second.median == Approx(350));
  CHECK(summary.prefill_tokens_per_second.interval.high == Approx(700));
  CHECK(summary.decode_tokens_per_second.median == Approx(100));
  CHECK(summary.decode_tokens_per_second.interval.low == Approx(10 / 0.15));
  CHECK(summary.bytes_per_token == 10e6);
  CHECK(summary.bytes_per_second == Approx(1e9));
  CHECK(summary.share_of_copy == Approx(0.1));
  CHECK(summary.share_of_read == Approx(0.2));
  CHECK(summary.share_of_fp32 == Approx(70.0 / 32 * 1e9 / 0.2 / 100e9));
  CHECK(summary.decode_flops_per_second == Approx(2e9));
  CHECK(summary.prefill_flops_per_second == Approx(70.0 / 32 * 1e9 / 0.2));
  CHECK(summary.dispatch_seconds_per_token == Approx(0.002));
  CHECK(summary.dispatches_per_token == 50);
  CHECK(summary.barriers_per_token == 40);
  CHECK(summary.submissions_per_token == 3);
  CHECK(summary.host_work_microseconds == Approx(6));
  CHECK(summary.host_wait_microseconds == Approx(4000));
}

TEST_CASE("attention is counted over the rows in use, not over the whole states") {
  bench::Report report = made_up();
  report.attention = {.bytes_per_row = 1000, .width = 64};
  const bench::Summary summary = bench::summarize(report, report.measurements[0]);
  CHECK(summary.bytes_per_token == Approx(10e6 - 1000 * (128 - 75.5)));
  CHECK(summary.decode_flops_per_second == Approx(100 * (20e6 - 2 * 64 * 128 + 4 * 64 * 75.5)));
  CHECK(summary.prefill_flops_per_second ==
        Approx((70.0 / 32 * (1e9 - 2.0 * 64 * 128 * 32) + 2.0 * 64 * 70 * 71) / 0.2));
}

TEST_CASE("the hash of a report changes with the hash of any prompt") {
  bench::Report report = made_up();
  const uint64_t one = bench::combined_logits_hash(report);
  report.measurements.push_back(report.measurements[0]);
  const uint64_t two = bench::combined_logits_hash(report);
  report.measurements[1].repetitions[0].logits_hash = 0xabd;
  CHECK(one != two);
  CHECK(two != bench::combined_logits_hash(report));
}

TEST_CASE("the CSV has one row per repetition and quotes what needs it") {
  const std::string csv = bench::to_csv(made_up());
  CHECK(std::count(csv.begin(), csv.end(), '\n') == 4);
  CHECK(contains(csv, "\n\"a, \"\"b\"\".pocket\",Adreno,driver 1,70,11,0,200000000,"));
  CHECK(contains(csv, ",0000000000000abc\n"));
}

TEST_CASE("the table shows speed, bandwidth and where the rest went") {
  const std::string table = bench::to_table(made_up());
  for (const char* part :
       {"350.0 [233.3, 700.0]", "100.0 [66.7, 200.0]", "10.0 %", "20.0 %", "1.00", "2.00 ms",
        "0000000000000abc", "weights 2.0 MiB", "Adreno"}) {
    INFO(part << " in\n" << table);
    CHECK(contains(table, part));
  }
  bench::Report skipped = made_up();
  skipped.peaks.copy = {};
  skipped.peaks.copy.skipped = "no memory";
  CHECK(contains(bench::to_table(skipped), "copy skipped: no memory"));
}

TEST_CASE("the schema checker notices what is wrong") {
  const nlohmann::json good = {{"schema", "pocketformer.perplexity"},
                               {"version", 1},
                               {"tokens", 10},
                               {"windows", 1},
                               {"longest_window", 11},
                               {"nll", 2.5},
                               {"perplexity", 12.2}};
  CHECK(schema_errors("perplexity", good).empty());
  const auto bad = [&](const char* key, const nlohmann::json& value) {
    nlohmann::json changed = good;
    changed[key] = value;
    return !schema_errors("perplexity", changed).empty();
  };
  CHECK(bad("version", 2));
  CHECK(bad("tokens", "10"));
  CHECK(bad("tokens", 0));
  CHECK(bad("nll", nullptr));
  CHECK(bad("unknown", 1));
  nlohmann::json missing = good;
  missing.erase("nll");
  CHECK_FALSE(schema_errors("perplexity", missing).empty());
}

}  // namespace pocket::test
