#include "runtime/engine/session.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "runtime/base/error.h"
#include "runtime/engine/loader.h"
#include "runtime/engine/segment_times.h"
#include "runtime/engine/state.h"

namespace pocket {
Engine::State::State(Device& the_device, Package the_package, EngineOptions the_options)
    : device(the_device),
      package(std::move(the_package)),
      options(std::move(the_options)),
      plan(make_plan()),
      buffers(load_buffers(device, package, plan, options)),
      policy(std::make_unique<InOrder>()),
      log(plan, options.log_stream),
      recorder(device, plan, buffers),
      steps(recorder, plan, *policy),
      control(plan, buffers, log),
      flights(device, log, options.queued_steps) {
  sequence.reserve(static_cast<size_t>(plan.context) + 1);
  for (const StepKind kind : {StepKind::chunk, StepKind::last_chunk, StepKind::token}) {
    steps.prepare(kind, stochastic());
  }
  device.pipelines().save_cache();
  if (options.max_submit_ms > 0) limit_submissions();
}

void Engine::State::limit_submissions() {
  std::vector<double> times =
      measure_segments(device, plan, recorder, steps, control, stochastic(), record());
  log.take();  // all of it was waited for
  auto split = std::make_unique<TimeSplit>(options.max_submit_ms * 1e6, std::move(times));
  for (const auto& [phase, kind] : {std::pair{Phase::prefill, StepKind::last_chunk},
                                    std::pair{Phase::decode, StepKind::token}}) {
    SubmissionTimes& sums = submission_times[static_cast<size_t>(phase)];
    for (const SegmentList& submission : split->arrange(plan, steps.segments(kind, stochastic()))) {
      const double milliseconds = split->nanoseconds(submission) / 1e6;
      ++sums.submissions;
      sums.longest_ms = std::max(sums.longest_ms, milliseconds);
      sums.over += milliseconds > options.max_submit_ms ? 1 : 0;
    }
  }
  steps.set_policy(*split);
  policy = std::move(split);
}

EnginePlan Engine::State::make_plan() {
  EnginePlan made = plan_engine(package.manifest(), device.limits(), options);
  for (const std::string& message : made.messages) say(message);
  say("Planned device memory: " + memory_text(made.memory) + ".");
  const uint64_t most = available_memory(device.info());
  check_memory(made, options.memory_limit == 0 ? most : std::min(options.memory_limit, most));
  return made;
}

void Engine::State::say(const std::string& message) {
  messages.push_back(message);
  if (options.message) options.message(message);
}

StepRecord Engine::State::record() const {
  StepRecord record;
  const SamplerSettings& sampling = options.sampling;
  record.past = static_cast<uint32_t>(position);
  record.tokens = 1;
  record.target = static_cast<uint32_t>(position) + 1;
  record.chunk = 1;
  record.step = sampled;
  record.ring_size = plan.ring_size;
  record.top_k = sampling.top_k == 0 ? 256u : static_cast<uint32_t>(sampling.top_k);
  record.temperature = sampling.temperature;
  record.top_p = sampling.top_p;
  record.seed_low = static_cast<uint32_t>(sampling.seed);
  record.seed_high = static_cast<uint32_t>(sampling.seed >> 32);
  return record;
}

void Engine::State::submit(PhaseStatistics& phase, int32_t flight, StepKind kind, int32_t copy,
                           uint32_t step) {
  const PreparedStep& prepared = steps.get(kind, stochastic(), copy);
  phase.submits += flights.submit(flight, prepared, step);
  phase.dispatches += prepared.cost.dispatches;
  phase.barriers += prepared.cost.barriers;
}

int32_t Engine::State::checked_token(uint32_t step) {
  const int32_t token = control.token(step);
  if (token < 0 || token >= vocab()) {
    throw Error(ExitCode::wrong_result, "The device chose token " + std::to_string(token) +
                                            " of a vocabulary of " + std::to_string(vocab()) +
                                            "; run llmbench selftest on this device.");
  }
  return token;
}

void Engine::State::check_tokens(std::span<const int32_t> tokens) const {
  for (const int32_t token : tokens) {
    if (token >= 0 && token < vocab()) continue;
    throw Error(ExitCode::usage, "Token " + std::to_string(token) +
                                     " lies outside the model's vocabulary of " +
                                     std::to_string(vocab()) + "; use the model's own tokenizer.");
  }
}

void Engine::State::require_room(int64_t total) const {
  if (total <= plan.context) return;
  throw Error(ExitCode::usage, "The sequence would have " + std::to_string(total) +
                                   " tokens but the context holds " + std::to_string(plan.context) +
                                   "; shorten the text or use a larger --context.");
}

Engine::Engine(Device& device, Package package, EngineOptions options) {
  check_sampler_settings(options.sampling);
  state_ = std::make_unique<State>(device, std::move(package), std::move(options));
}

Engine::~Engine() = default;

int64_t Engine::context() const { return state_->plan.context; }
int64_t Engine::chunk() const { return state_->plan.chunk; }
int64_t Engine::position() const { return state_->position; }
int64_t Engine::length() const { return static_cast<int64_t>(state_->sequence.size()); }
std::span<const int32_t> Engine::sequence() const { return state_->sequence; }
int64_t Engine::room() const { return context() + 1 - length(); }

void Engine::reset() { rewind(0); }

void Engine::rewind(int64_t wanted) {
  if (wanted < 0 || wanted > length()) {
    throw Error(ExitCode::usage, "The sequence has " + std::to_string(length()) +
                                     " tokens and cannot be cut to " + std::to_string(wanted) +
                                     ".");
  }
  state_->sequence.resize(static_cast<size_t>(wanted));
  state_->position = std::min(state_->position, wanted);
  state_->chosen.reset();
}

void Engine::set_sampling(const SamplerSettings& sampling) {
  check_sampler_settings(sampling);
  state_->options.sampling = sampling;
  for (const StepKind kind : {StepKind::last_chunk, StepKind::token}) {
    state_->steps.prepare(kind, state_->stochastic());
  }
}

const Package& Engine::package() const { return state_->package; }
const Manifest& Engine::manifest() const { return state_->package.manifest(); }
const MemorySums& Engine::planned_memory() const { return state_->plan.memory; }

uint64_t Engine::allocated_bytes() const {
  uint64_t bytes = 0;
  for (size_t use = 0; use < kMemoryUses; ++use) {
    bytes += state_->device.memory().usage(static_cast<MemoryUse>(use)).bytes;
  }
  return bytes;
}

const std::vector<std::string>& Engine::messages() const { return state_->messages; }
const Statistics& Engine::statistics() const { return state_->statistics; }
void Engine::clear_statistics() { state_->statistics = {}; }

StepCost Engine::step_cost(Phase phase) const {
  const StepKind kind = phase == Phase::prefill ? StepKind::last_chunk : StepKind::token;
  return state_->steps.get(kind, state_->stochastic(), 0).cost;
}

SubmissionTimes Engine::submission_times(Phase phase) const {
  return state_->submission_times[static_cast<size_t>(phase)];
}

std::vector<ConfigUse> Engine::config_uses() const {
  std::map<std::tuple<Phase, std::string, std::string>, uint32_t> counts;
  for (const auto& [phase, kind] : {std::pair{Phase::prefill, StepKind::last_chunk},
                                    std::pair{Phase::decode, StepKind::token}}) {
    for (const int32_t s : state_->steps.segments(kind, state_->stochastic())) {
      for (const Dispatch& d : state_->plan.segments[static_cast<size_t>(s)].dispatches) {
        ++counts[{phase, d.shader, d.config}];
      }
    }
  }
  std::vector<ConfigUse> uses;
  for (const auto& [key, count] : counts) {
    uses.push_back({std::get<0>(key), std::get<1>(key), std::get<2>(key), count});
  }
  return uses;
}

std::vector<StreamEvent> Engine::take_stream() { return state_->log.take(); }

std::vector<std::string> Engine::segment_labels(Phase phase) const {
  std::vector<std::string> labels;
  const StepKind kind = phase == Phase::prefill ? StepKind::last_chunk : StepKind::token;
  for (const int32_t s : state_->steps.segments(kind, state_->stochastic())) {
    labels.push_back(state_->plan.segments[static_cast<size_t>(s)].label);
  }
  return labels;
}

int32_t Engine::barrier_count(Phase phase, const std::string& label) const {
  for (const SegmentPlan& segment : state_->plan.segments) {
    if (segment.phase == phase && segment.label == label) {
      return static_cast<int32_t>(segment.cost.barriers);
    }
  }
  return 0;
}

}  // namespace pocket
