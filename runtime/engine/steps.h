// Steps ready for submission: for every kind of step and every queue copy, the arrays that
// vkQueueSubmit takes. Built when a kind is first used, then only read.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/engine/engine_plan.h"
#include "runtime/engine/recorder.h"
#include "runtime/engine/submission.h"

namespace pocket {

enum class StepKind : uint8_t {
  chunk,           // prefill body, advance
  last_chunk,      // prefill body, head of one row, sampler
  token,           // decode body, head, sampler
  chunk_body,      // prefill body only: the head follows in row tiles
  tile,            // head of a row tile, readback
  token_logits,    // decode body, head, readback
  prefill_logits,  // readback only
  decode_logits,   // readback only
};
inline constexpr size_t kStepKinds = 8;

struct PreparedStep {
  struct Part {
    SegmentList segments;
    std::vector<VkCommandBuffer> commands;
    const char* label = "";  // of the last segment; lives in the plan
  };
  std::vector<Part> parts;  // one per submission
  StepCost cost;
};

class Steps {
 public:
  Steps(Recorder&, const EnginePlan&, const SubmissionPolicy&);

  // From now on, and for what is prepared already; nothing is recorded again. Nothing may be
  // pending.
  void set_policy(const SubmissionPolicy&);
  // Records what is missing. `stochastic` chooses the sampler of last_chunk and token.
  void prepare(StepKind, bool stochastic);
  // Prepared before; copies wrap at the number that the kind has.
  const PreparedStep& get(StepKind, bool stochastic, int32_t copy) const;
  SegmentList segments(StepKind, bool stochastic) const;

 private:
  using Copies = std::vector<PreparedStep>;
  Copies build(const SegmentList&) const;
  static size_t slot(StepKind kind, bool stochastic) {
    const bool samples = kind == StepKind::last_chunk || kind == StepKind::token;
    return static_cast<size_t>(kind) * 2 + (samples && stochastic ? 1 : 0);
  }
  Recorder& recorder_;
  const EnginePlan& plan_;
  const SubmissionPolicy* policy_;
  std::array<Copies, kStepKinds * 2> prepared_;
};

}  // namespace pocket
