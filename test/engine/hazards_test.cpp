// Barriers by derivation, and the independent checker: every planted fault must be found.
#include "runtime/engine/hazards.h"

#include <random>

#include "runtime/engine/checker.h"
#include "test/support/catch.h"

namespace pocket {
namespace {

using Kind = StreamEvent::Kind;

StreamEvent work(const std::string& label, std::vector<Touch> touches,
                 StageMask stage = kStageCompute) {
  StreamEvent event;
  event.stage = stage;
  event.label = label;
  event.touches = std::move(touches);
  return event;
}

StreamEvent barrier(StageMask source = kStageDevice, StageMask target = kStageDevice) {
  StreamEvent event;
  event.kind = Kind::barrier;
  event.source = source;
  event.target = target;
  return event;
}

StreamEvent submit() {
  StreamEvent event;
  event.kind = Kind::submit;
  return event;
}

StreamEvent wait_for(int32_t submission) {
  StreamEvent event;
  event.kind = Kind::wait;
  event.submission = submission;
  return event;
}

Touch read(int32_t buffer, uint64_t begin, uint64_t end) {
  return {buffer, begin, end, Access::read};
}
Touch write(int32_t buffer, uint64_t begin, uint64_t end) {
  return {buffer, begin, end, Access::write};
}

size_t barriers(const std::vector<StreamEvent>& stream) {
  size_t count = 0;
  for (const StreamEvent& event : stream) count += event.kind == Kind::barrier ? 1 : 0;
  return count;
}

}  // namespace

TEST_CASE("a segment begins with a barrier and has others only where bytes collide") {
  // Disjoint writes and shared reads need none.
  auto stream = insert_barriers(
      {work("a", {read(0, 0, 64), write(1, 0, 64)}), work("b", {read(0, 0, 64), write(1, 64, 128)}),
       work("c", {read(0, 32, 48), write(2, 0, 64)})},
      false);
  REQUIRE(stream.size() == 4);
  CHECK(stream[0].kind == Kind::barrier);
  CHECK(barriers(stream) == 1);

  SECTION("read after write") {
    stream = insert_barriers({work("a", {write(1, 0, 64)}), work("b", {read(1, 63, 70)})}, false);
    REQUIRE(barriers(stream) == 2);
    CHECK(stream[2].kind == Kind::barrier);
  }
  SECTION("write after read") {
    stream = insert_barriers({work("a", {read(1, 0, 64)}), work("b", {write(1, 0, 4)})}, false);
    CHECK(barriers(stream) == 2);
  }
  SECTION("write after write") {
    stream = insert_barriers({work("a", {write(1, 0, 64)}), work("b", {write(1, 60, 68)})}, false);
    CHECK(barriers(stream) == 2);
  }
  SECTION("one barrier serves all that came before it") {
    stream = insert_barriers({work("a", {write(1, 0, 64)}), work("b", {write(2, 0, 64)}),
                              work("c", {read(1, 0, 64), write(3, 0, 64)}),
                              work("d", {read(2, 0, 64), write(4, 0, 64)})},
                             false);
    CHECK(barriers(stream) == 2);
  }
  SECTION("touching ranges do not overlap") {
    stream = insert_barriers({work("a", {write(1, 0, 64)}), work("b", {write(1, 64, 128)})}, false);
    CHECK(barriers(stream) == 1);
  }
  SECTION("what the host reads ends in a barrier to the host") {
    stream = insert_barriers({work("a", {write(1, 0, 64)})}, true);
    REQUIRE(stream.back().kind == Kind::barrier);
    CHECK(stream.back().target == kStageHost);
  }
}

TEST_CASE("the checker finds each kind of planted hazard inside a segment") {
  const std::vector<StreamEvent> segment = insert_barriers(
      {work("embed", {read(0, 0, 256), write(1, 0, 256)}),
       work("norm", {read(1, 0, 256), write(1, 256, 512)}),
       work("linear", {read(1, 256, 512), write(1, 0, 256)}),   // re-uses embed's block
       work("again", {write(1, 0, 128), write(1, 512, 600)})},  // overwrites linear's result
      false);
  REQUIRE(barriers(segment) == 4);
  CHECK(check_stream(segment).empty());
  auto without = [&](size_t n) {
    std::vector<StreamEvent> cut = segment;
    size_t seen = 0;
    std::erase_if(cut,
                  [&](const StreamEvent& e) { return e.kind == Kind::barrier && seen++ == n; });
    REQUIRE(cut.size() + 1 == segment.size());
    return check_stream(cut);
  };
  auto found = without(1);
  REQUIRE(found.size() == 1);
  CHECK(found[0].kind == HazardKind::read_after_write);
  CHECK(found[0].earlier == "embed");
  CHECK(found[0].later == "norm");
  CHECK(found[0].begin == 0);
  CHECK(found[0].end == 256);

  found = without(2);  // linear reads what norm wrote, and writes what norm read
  REQUIRE(found.size() == 2);
  CHECK(found[0].kind == HazardKind::read_after_write);
  CHECK(found[1].kind == HazardKind::write_after_read);

  found = without(3);
  REQUIRE(found.size() == 1);
  CHECK(found[0].kind == HazardKind::write_after_write);
  CHECK(found[0].end == 128);
}

TEST_CASE("the checker looks across segments, submissions and the host") {
  const auto first = insert_barriers({work("first", {read(0, 0, 64), write(1, 0, 64)})}, false);
  const auto second = insert_barriers({work("second", {read(1, 0, 64), write(2, 0, 64)})}, true);
  std::vector<StreamEvent> stream = {work("host", {write(0, 0, 64)}, kStageHost), submit()};
  stream.insert(stream.end(), first.begin(), first.end());
  stream.push_back(submit());
  stream.insert(stream.end(), second.begin(), second.end());
  stream.push_back(wait_for(2));
  stream.push_back(work("host", {read(2, 0, 64)}, kStageHost));
  stream.push_back(work("host", {write(0, 0, 64)}, kStageHost));
  CHECK(check_stream(stream).empty());

  auto without = [&](auto predicate) {
    std::vector<StreamEvent> cut = stream;
    std::erase_if(cut, predicate);
    REQUIRE(cut.size() < stream.size());
    return check_stream(cut);
  };
  SECTION("the barrier that a segment begins with") {
    int seen = 0;
    const auto found =
        without([&](const StreamEvent& e) { return e.kind == Kind::barrier && seen++ == 1; });
    REQUIRE(found.size() == 1);
    CHECK(found[0].kind == HazardKind::read_after_write);
    CHECK(found[0].earlier == "first");
    CHECK(found[0].later == "second");
  }
  SECTION("the barrier to the host") {
    const auto found = without([](const StreamEvent& e) { return e.target == kStageHost; });
    REQUIRE(found.size() == 1);
    CHECK(found[0].earlier == "second");
    CHECK(found[0].later == "host");
  }
  SECTION("the wait") {
    const auto found = without([](const StreamEvent& e) { return e.kind == Kind::wait; });
    REQUIRE(found.size() == 2);
    CHECK(found[0].kind == HazardKind::read_after_write);
    CHECK(found[1].kind == HazardKind::write_after_read);
  }
  SECTION("a wait for an earlier submission only") {
    for (StreamEvent& e : stream) {
      if (e.kind == Kind::wait) e.submission = 1;
    }
    const auto found = check_stream(stream);
    REQUIRE(found.size() == 1);  // the record that the first submission read may be written
    CHECK(found[0].buffer == 2);
  }
  SECTION("the submission edge") {
    const auto found = without([](const StreamEvent& e) { return e.kind == Kind::submit; });
    CHECK_FALSE(found.empty());
  }
}

TEST_CASE("the checker follows stages") {
  const StreamEvent produce = work("produce", {write(0, 0, 64)});
  const StreamEvent copy = work("copy", {read(0, 0, 64), write(1, 0, 64)}, kStageTransfer);
  CHECK(check_stream(std::vector{produce, barrier(), copy}).empty());
  // A barrier between dispatches does not cover a copy.
  CHECK(check_stream(std::vector{produce, barrier(kStageCompute, kStageCompute), copy}).size() ==
        1);
  CHECK(check_stream(std::vector{produce, barrier(kStageTransfer, kStageTransfer), copy}).size() ==
        1);
  // Two barriers chain when the second continues from a stage that the first reached.
  CHECK(check_stream(std::vector{produce, barrier(kStageCompute, kStageCompute),
                                 barrier(kStageCompute, kStageTransfer), copy})
            .empty());
}

TEST_CASE("random segments: the inserter satisfies the checker, and no inner barrier is idle") {
  std::mt19937 random(7);
  auto pick = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  size_t inner = 0;
  for (int round = 0; round < 200; ++round) {
    std::vector<StreamEvent> list;
    for (int i = 0; i < 12; ++i) {
      std::vector<Touch> touches;
      for (int t = 0; t < 3; ++t) {
        const auto begin = static_cast<uint64_t>(pick(12)) * 16;
        touches.push_back({pick(2), begin, begin + 16 + static_cast<uint64_t>(pick(3)) * 16,
                           pick(3) == 0 ? Access::write : Access::read});
      }
      list.push_back(
          work(std::to_string(i), touches, pick(5) == 0 ? kStageTransfer : kStageCompute));
    }
    const auto stream = insert_barriers(list, false);
    REQUIRE(check_stream(stream).empty());
    for (size_t i = 1; i < stream.size(); ++i) {
      if (stream[i].kind != Kind::barrier) continue;
      auto cut = stream;
      cut.erase(cut.begin() + static_cast<std::ptrdiff_t>(i));
      REQUIRE_FALSE(check_stream(cut).empty());
      ++inner;
    }
  }
  CHECK(inner > 200);
}

}  // namespace pocket
