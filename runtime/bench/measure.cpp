#include "runtime/bench/measure.h"

#include <chrono>

#include "runtime/base/error.h"
#include "runtime/bench/output.h"
#include "runtime/bench/tokens.h"

namespace pocket::bench {
namespace {

using Clock = std::chrono::steady_clock;

uint64_t nanoseconds(Clock::time_point from, Clock::time_point to) {
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(to - from).count());
}

Repetition repeat(Engine& engine, const std::vector<int32_t>& prompt, int64_t generate) {
  Repetition result;
  result.token_ns.reserve(static_cast<size_t>(generate));
  engine.reset();
  const uint64_t evaluated = plan_evaluations();
  const auto start = Clock::now();
  engine.prefill(prompt);
  result.first_token_ns = nanoseconds(start, Clock::now());

  engine.clear_statistics();
  bool first = true;
  Clock::time_point last;
  engine.decode(generate, [&](int32_t) {
    const auto now = Clock::now();
    if (!first) result.token_ns.push_back(nanoseconds(last, now));
    first = false;
    last = now;
    return true;
  });
  for (const uint64_t time : result.token_ns) result.decode_ns += time;
  const PhaseStatistics& decode = engine.statistics().decode;
  result.decode_steps = decode.tokens;
  result.host_work_ns = decode.work_ns;
  result.host_wait_ns = decode.wait_ns;
  result.submits = decode.submits;
  result.dispatches = decode.dispatches;
  result.barriers = decode.barriers;
  result.plan_evaluations = plan_evaluations() - evaluated;
  result.logits_hash = engine.last_logits_hash();
  return result;
}

}  // namespace

Measurement measure(Engine& engine, int64_t prompt, int64_t generate, int warmup, int repetitions,
                    const std::function<void(const std::string&)>& progress) {
  const std::vector<int32_t> tokens = measuring_tokens(prompt, engine.manifest().program.vocab);
  Measurement measurement{prompt, generate, {}};
  uint64_t hash = 0;
  for (int i = -warmup; i < repetitions; ++i) {
    const Repetition result = repeat(engine, tokens, generate);
    if (i == -warmup) hash = result.logits_hash;
    if (result.logits_hash != hash) {
      throw Error(ExitCode::wrong_result,
                  "two repetitions of one prompt ended in different logits (" + hex16(hash) +
                      " and " + hex16(result.logits_hash) +
                      "), so no speed is reported; run llmbench selftest");
    }
    if (i >= 0) measurement.repetitions.push_back(result);
    progress("prompt " + std::to_string(prompt) + ", " +
             (i < 0
                  ? std::string("warm-up")
                  : "repetition " + std::to_string(i + 1) + " of " + std::to_string(repetitions)));
  }
  return measurement;
}

}  // namespace pocket::bench
