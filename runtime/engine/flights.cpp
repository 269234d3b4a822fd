#include "runtime/engine/flights.h"

#include <chrono>

#include "runtime/base/error.h"

namespace pocket {

Flights::Flights(Device& device, StreamLog& log, int32_t count) : device_(device), log_(log) {
  flights_.reserve(static_cast<size_t>(count));
  for (int32_t i = 0; i < count; ++i) flights_.push_back({Fence(device), false, 0});
}

Flights::~Flights() {
  try {
    // Not drain(): a wait that failed says nothing about what is still running.
    device_.queue().wait_idle();
  } catch (const Error&) {
    // A lost device has nothing pending any more.
  }
}

uint64_t Flights::submit(int32_t flight, const PreparedStep& step, uint32_t number) {
  Flight& f = flights_[static_cast<size_t>(flight)];
  wait(flight);
  f.fence.reset();
  for (size_t i = 0; i < step.parts.size(); ++i) {
    const PreparedStep::Part& part = step.parts[i];
    const bool last = i + 1 == step.parts.size();
    Submission submission;
    submission.commands = part.commands;
    submission.label = part.label;
    submission.fence = last ? &f.fence : nullptr;
    device_.queue().submit(submission);
    log_.submit(part.segments, number);
  }
  f.pending = true;
  f.submission = log_.submissions();
  return step.parts.size();
}

void Flights::wait(int32_t flight) {
  Flight& f = flights_[static_cast<size_t>(flight)];
  if (!f.pending) return;
  const auto begin = std::chrono::steady_clock::now();
  f.pending = false;  // also when the wait fails: a lost device never signals
  f.fence.wait();
  const auto end = std::chrono::steady_clock::now();
  wait_ns_ += static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(end - begin).count());
  log_.wait(f.submission);
}

void Flights::drain() {
  for (int32_t i = 0; i < count(); ++i) wait(i);
}

}  // namespace pocket
