// Prefill and decode: the host writes the record, submits recorded steps, and reads tokens.
#include <algorithm>
#include <chrono>

#include "runtime/base/error.h"
#include "runtime/engine/state.h"

namespace pocket {
namespace {

using Clock = std::chrono::steady_clock;

uint64_t nanoseconds(Clock::duration d) {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(d).count());
}

// Adds the host time of its scope to a phase: waiting apart, the caller's callback not at all.
class HostTime {
 public:
  HostTime(PhaseStatistics& phase, const Flights& flights)
      : phase_(phase), flights_(flights), waited_(flights.wait_ns()), begin_(Clock::now()) {}
  ~HostTime() {
    const uint64_t wait = flights_.wait_ns() - waited_;
    const uint64_t total = nanoseconds(Clock::now() - begin_);
    phase_.wait_ns += wait;
    phase_.work_ns += total - std::min(total, wait + excluded_);
  }
  HostTime(const HostTime&) = delete;
  HostTime& operator=(const HostTime&) = delete;
  void exclude(Clock::duration d) { excluded_ += nanoseconds(d); }

 private:
  PhaseStatistics& phase_;
  const Flights& flights_;
  uint64_t waited_, excluded_ = 0;
  Clock::time_point begin_;
};

}  // namespace

void Engine::prefill(std::span<const int32_t> tokens) {
  State& s = *state_;
  s.check_tokens(tokens);
  s.require_room(length() + static_cast<int64_t>(tokens.size()));
  if (s.sequence.empty() && tokens.empty()) {
    throw Error(ExitCode::usage, "A prompt needs at least one token but has none.");
  }
  s.sequence.insert(s.sequence.end(), tokens.begin(), tokens.end());
  s.chosen.reset();
  // Nothing new: the last token is evaluated again to choose its successor.
  s.position = std::min(s.position, length() - 1);

  HostTime time(s.statistics.prefill, s.flights);
  const int64_t count = length() - s.position;
  s.control.write_tokens(s.position,
                         std::span(s.sequence).subspan(static_cast<size_t>(s.position)));
  StepRecord record = s.record();
  record.chunk = static_cast<uint32_t>(s.plan.chunk);
  record.tokens = static_cast<uint32_t>(std::min(count, s.plan.chunk));
  record.target = static_cast<uint32_t>(length());
  record.head_row = static_cast<uint32_t>((count - 1) % s.plan.chunk);
  s.control.write_record(Phase::prefill, record);

  const int64_t chunks = (count + s.plan.chunk - 1) / s.plan.chunk;
  for (int64_t i = 0; i < chunks; ++i) {
    const auto flight = static_cast<int32_t>(i % s.flights.count());
    s.submit(s.statistics.prefill, flight, i + 1 < chunks ? StepKind::chunk : StepKind::last_chunk,
             flight, s.sampled);
  }
  s.flights.drain();
  s.statistics.prefill.tokens += static_cast<uint64_t>(count);
  s.position = length();
  s.chosen = s.checked_token(s.sampled++);
  s.ran = true;
  s.last_slot = Phase::prefill;
  s.last_row = 0;
}

DecodeResult Engine::decode(int64_t n, const std::function<bool(int32_t)>& on_token,
                            std::span<const int32_t> stop_ids) {
  State& s = *state_;
  if (s.sequence.empty()) {
    throw Error(ExitCode::usage, "Nothing can be decoded before a prompt of at least one token.");
  }
  if (n < 0 || n > room()) {
    throw Error(ExitCode::usage, "After " + std::to_string(length()) + " tokens a context of " +
                                     std::to_string(context()) + " has room for " +
                                     std::to_string(room()) + " more but " + std::to_string(n) +
                                     " were asked for; use a larger --context.");
  }
  // Only after a failure is more than the last token not evaluated.
  if (s.position + 1 < length()) prefill({});
  HostTime time(s.statistics.decode, s.flights);
  DecodeResult result;
  // Returns whether to go on.
  auto deliver = [&](int32_t token) {
    if (std::find(stop_ids.begin(), stop_ids.end(), token) != stop_ids.end()) {
      s.chosen = token;
      result.reason = StopReason::stop_id;
      result.stop_id = token;
      return false;
    }
    s.sequence.push_back(token);
    ++result.tokens;
    const Clock::time_point begin = Clock::now();
    const bool go_on = on_token(token);
    time.exclude(Clock::now() - begin);
    if (!go_on) result.reason = StopReason::cancelled;
    return go_on;
  };
  if (n > 0 && s.chosen) {
    const int32_t token = *s.chosen;
    s.chosen.reset();
    if (!deliver(token)) return result;
  }
  const int64_t steps = n - result.tokens;
  if (steps == 0) return result;

  // Exactly one token is not evaluated: the last one. After a rewind even that one is, and its row
  // is written again.
  s.position = length() - 1;
  s.control.write_tokens(s.position,
                         std::span(s.sequence).subspan(static_cast<size_t>(s.position)));
  s.control.write_record(Phase::decode, s.record());
  const int32_t queued = s.flights.count();
  const uint32_t first = s.sampled;
  int64_t submitted = 0, received = 0;
  try {
    bool go_on = true;
    while (go_on && received < steps) {
      for (; submitted < steps && submitted - received < queued; ++submitted) {
        const auto flight = static_cast<int32_t>(submitted % queued);
        s.submit(s.statistics.decode, flight, StepKind::token, flight,
                 first + static_cast<uint32_t>(submitted));
      }
      s.flights.wait(static_cast<int32_t>(received % queued));
      const int32_t token = s.checked_token(s.sampled);
      ++received;
      ++s.sampled;
      ++s.position;
      go_on = deliver(token);
    }
  } catch (...) {
    try {
      s.flights.drain();
    } catch (const Error&) {
      // The first failure is the one to report.
    }
    throw;
  }
  // What ran beyond the stop wrote rows and ids behind `position`: they count for nothing, since
  // the next turn writes the record, the ids and those rows again.
  s.flights.drain();
  s.statistics.decode.tokens += static_cast<uint64_t>(submitted);
  s.statistics.discarded_steps += static_cast<uint64_t>(submitted - received);
  s.ran = true;
  s.last_slot = Phase::decode;
  s.last_row = 0;
  return result;
}

}  // namespace pocket
