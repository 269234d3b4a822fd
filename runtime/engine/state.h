// What an Engine owns, in the order in which it is built; destruction runs backwards and waits for
// the device first. Private to runtime/engine.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/engine/control.h"
#include "runtime/engine/flights.h"
#include "runtime/engine/recorder.h"
#include "runtime/engine/session.h"
#include "runtime/engine/steps.h"

namespace pocket {

struct Engine::State {
  State(Device&, Package, EngineOptions);

  EnginePlan make_plan();  // says the sums and refuses what does not fit
  void say(const std::string& message);
  void limit_submissions();  // to options.max_submit_ms, by measured times
  bool stochastic() const { return options.sampling.temperature > 0.0f; }
  int64_t vocab() const { return package.manifest().program.vocab; }
  // A record for a step that begins at the current position, with the sampler's settings.
  StepRecord record() const;
  // Submits and counts.
  void submit(PhaseStatistics&, int32_t flight, StepKind, int32_t copy, uint32_t step);
  int32_t checked_token(uint32_t step);  // from the ring
  void check_tokens(std::span<const int32_t> tokens) const;
  void require_room(int64_t total) const;  // tokens of the sequence that are to be evaluated

  Device& device;
  Package package;
  EngineOptions options;
  std::vector<std::string> messages;
  EnginePlan plan;
  std::vector<Buffer> buffers;
  std::unique_ptr<SubmissionPolicy> policy;
  StreamLog log;
  Recorder recorder;
  Steps steps;
  Control control;
  Statistics statistics;
  std::array<SubmissionTimes, 2> submission_times{};  // by phase

  std::vector<int32_t> sequence;  // capacity context + 1 from the start
  int64_t position = 0;           // rows of the KV states that are filled
  std::optional<int32_t> chosen;  // by the device, not yet delivered
  uint32_t sampled = 0;           // steps whose token counts: number of the next ring entry
  bool ran = false;               // logits of a last step exist
  Phase last_slot = Phase::decode;
  int64_t last_row = 0;  // of the logits in that slot

  Flights flights;  // last: its destructor waits for the device
};

}  // namespace pocket
