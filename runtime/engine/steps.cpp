#include "runtime/engine/steps.h"

#include <algorithm>

namespace pocket {
namespace {

void add(StepCost& sum, const StepCost& part) {
  sum.dispatches += part.dispatches;
  sum.barriers += part.barriers;
  sum.segments += part.segments;
  sum.bytes_read += part.bytes_read;
  sum.bytes_written += part.bytes_written;
  sum.flops += part.flops;
}

}  // namespace

Steps::Steps(Recorder& recorder, const EnginePlan& plan, const SubmissionPolicy& policy)
    : recorder_(recorder), plan_(plan), policy_(&policy) {}

SegmentList Steps::segments(StepKind kind, bool stochastic) const {
  SegmentList list;
  auto append = [&](Phase phase, SegmentRole role) {
    const SegmentList more = plan_.find(phase, role);
    list.insert(list.end(), more.begin(), more.end());
  };
  const SegmentRole sampler = stochastic ? SegmentRole::stochastic : SegmentRole::greedy;
  switch (kind) {
    case StepKind::chunk:
      append(Phase::prefill, SegmentRole::body);
      append(Phase::prefill, SegmentRole::advance);
      break;
    case StepKind::last_chunk:
      append(Phase::prefill, SegmentRole::body);
      append(Phase::prefill, SegmentRole::head);
      append(Phase::prefill, sampler);
      break;
    case StepKind::token:
      append(Phase::decode, SegmentRole::body);
      append(Phase::decode, SegmentRole::head);
      append(Phase::decode, sampler);
      break;
    case StepKind::chunk_body:
      append(Phase::prefill, SegmentRole::body);
      break;
    case StepKind::tile:
      append(Phase::prefill, SegmentRole::head_tile);
      append(Phase::prefill, SegmentRole::readback);
      break;
    case StepKind::token_logits:
      append(Phase::decode, SegmentRole::body);
      append(Phase::decode, SegmentRole::head);
      append(Phase::decode, SegmentRole::readback);
      break;
    case StepKind::prefill_logits:
      append(Phase::prefill, SegmentRole::readback);
      break;
    case StepKind::decode_logits:
      append(Phase::decode, SegmentRole::readback);
      break;
  }
  return list;
}

void Steps::prepare(StepKind kind, bool stochastic) {
  Copies& copies = prepared_[slot(kind, stochastic)];
  if (!copies.empty()) return;
  const SegmentList list = segments(kind, stochastic);
  recorder_.record(list);
  copies = build(list);
}

void Steps::set_policy(const SubmissionPolicy& policy) {
  policy_ = &policy;
  for (size_t i = 0; i < prepared_.size(); ++i) {
    if (prepared_[i].empty()) continue;
    prepared_[i] = build(segments(static_cast<StepKind>(i / 2), i % 2 == 1));
  }
}

Steps::Copies Steps::build(const SegmentList& list) const {
  // Head and sampler of a prefill have one copy: they run once and are waited for. Its body has one
  // per flight, and so has the step.
  int32_t count = 1;
  for (const int32_t s : list) {
    count = std::max(count, plan_.segments[static_cast<size_t>(s)].copies);
  }
  const std::vector<SegmentList> submissions = policy_->arrange(plan_, list);
  Copies built(static_cast<size_t>(count));
  for (int32_t copy = 0; copy < count; ++copy) {
    PreparedStep& step = built[static_cast<size_t>(copy)];
    for (const SegmentList& submission : submissions) {
      PreparedStep::Part part;
      part.segments = submission;
      for (const int32_t s : submission) {
        const SegmentPlan& segment = plan_.segments[static_cast<size_t>(s)];
        part.commands.push_back(recorder_.commands(s, copy % segment.copies));
        part.label = segment.label.c_str();
        add(step.cost, segment.cost);
      }
      step.parts.push_back(std::move(part));
    }
  }
  return built;
}

const PreparedStep& Steps::get(StepKind kind, bool stochastic, int32_t copy) const {
  const Copies& copies = prepared_[slot(kind, stochastic)];
  return copies[static_cast<size_t>(copy) % copies.size()];
}

}  // namespace pocket
