// --max-submit-ms: segments are grouped by measured time, nothing else changes.
#include "runtime/engine/submission.h"

#include "runtime/engine/checker.h"
#include "test/engine/fixture.h"

namespace pocket::test {
namespace {

EngineOptions limited(double milliseconds) {
  EngineOptions options = engine_options(64, 8);
  options.max_submit_ms = milliseconds;
  return options;
}

struct Turn {
  std::vector<int32_t> tokens;
  uint64_t logits = 0;
  uint64_t submits = 0, steps = 0;
};

Turn turn_of(Engine& engine) {
  Turn turn;
  engine.prefill(random_tokens(21));
  engine.clear_statistics();
  turn.tokens = decode_all(engine, 12);
  turn.logits = engine.last_logits_hash();
  turn.submits = engine.statistics().decode.submits;
  turn.steps = engine.statistics().decode.tokens;
  return turn;
}

}  // namespace

TEST_CASE("segments share a submission while their times allow") {
  const EnginePlan plan;
  const TimeSplit split(6, {3, 3, 3, 10, 1, 0, 1, 2, 3});
  const SegmentList step = {0, 1, 2, 3, 4, 5, 6, 7, 8};
  // 3 + 3, 3, one that is too long, 1, one not measured, 1 + 2 + 3.
  CHECK(split.arrange(plan, step) ==
        std::vector<SegmentList>{{0, 1}, {2}, {3}, {4}, {5}, {6, 7, 8}});
  CHECK(split.nanoseconds({6, 7, 8}) == 6);
  CHECK(split.arrange(plan, {}).empty());
  CHECK(TimeSplit(100, {3, 3, 3}).arrange(plan, {2, 0, 1}) == std::vector<SegmentList>{{2, 0, 1}});
}

TEST_CASE("a split step computes the same in more submissions") {
  Device device(shared_instance(), no_cache());
  const std::string path = tiny_package({});
  Engine whole(device, Package::open(path), limited(0));
  const Turn expected = turn_of(whole);
  CHECK(expected.submits == expected.steps);
  CHECK(whole.submission_times(Phase::decode).submissions == 0);

  EngineOptions options = limited(1e-6);
  options.log_stream = true;
  Engine split(device, Package::open(path), options);
  const Turn turn = turn_of(split);
  const std::vector<Hazard> findings = check_stream(split.take_stream());
  CHECK(findings.empty());
  CHECK(turn.tokens == expected.tokens);
  CHECK(turn.logits == expected.logits);
  const size_t segments = split.segment_labels(Phase::decode).size();
  CHECK(turn.submits == segments * turn.steps);
  const SubmissionTimes times = split.submission_times(Phase::decode);
  CHECK(times.submissions == segments);
  CHECK(times.over == segments);  // nothing runs in a nanosecond
  CHECK(times.longest_ms > 0);

  // What fits as a whole is one submission; half of that is at least two, none of them longer.
  Engine wide(device, Package::open(path), limited(1e6));
  const SubmissionTimes one = wide.submission_times(Phase::decode);
  CHECK(one.submissions == 1);
  CHECK(one.over == 0);
  CHECK(turn_of(wide).tokens == expected.tokens);
  const double half = one.longest_ms / 2;
  Engine narrow(device, Package::open(path), limited(half));
  const SubmissionTimes parts = narrow.submission_times(Phase::decode);
  CAPTURE(half, parts.longest_ms, parts.over);
  CHECK((parts.over > 0 || parts.longest_ms <= half));
  CHECK(turn_of(narrow).submits == parts.submissions * expected.steps);
}

}  // namespace pocket::test
