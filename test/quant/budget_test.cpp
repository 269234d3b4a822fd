#include "converter/quant/budget.h"

#include <algorithm>
#include <random>

#include "test/quant/slow_budget.h"
#include "test/support/catch.h"

using namespace pocket;

namespace {

test::SlowCandidates slow(const std::vector<BudgetUnit>& units) {
  test::SlowCandidates out;
  for (const BudgetUnit& unit : units) {
    out.emplace_back();
    for (const BudgetCandidate& one : unit) out.back().emplace_back(one.bytes, one.error);
  }
  return out;
}

// The most error that a unit may lose at once.
double dearest_step(const std::vector<BudgetUnit>& units) {
  double most = 0;
  for (const BudgetUnit& unit : units) {
    const auto [low, high] = std::minmax_element(
        unit.begin(), unit.end(), [](const auto& a, const auto& b) { return a.error < b.error; });
    most = std::max(most, high->error - low->error);
  }
  return most;
}

void check_choice(const std::vector<BudgetUnit>& units, const BudgetChoice& choice, uint64_t most) {
  REQUIRE(choice.chosen.size() == units.size());
  uint64_t bytes = 0;
  double error = 0;
  for (size_t i = 0; i < units.size(); ++i) {
    bytes += units[i].at(choice.chosen[i]).bytes;
    error += units[i][choice.chosen[i]].error;
  }
  CHECK(choice.bytes == bytes);
  CHECK(choice.error == error);
  CHECK(choice.bytes <= most);
}

}  // namespace

TEST_CASE("the choice keeps to the budget and is within one step of trying everything") {
  std::mt19937 random(11);
  int equal = 0, runs = 0;
  for (int run = 0; run < 200; ++run) {
    std::vector<BudgetUnit> units(1 + random() % 6);
    uint64_t largest = 0;
    for (BudgetUnit& unit : units) {
      unit.resize(1 + random() % 4);
      uint64_t own = 0;
      for (BudgetCandidate& one : unit) {
        one.bytes = 10 + random() % 90;
        // Mostly the larger the better, as formats are; now and then not.
        one.error = double(random() % 1000) / double(one.bytes);
        own = std::max(own, one.bytes);
      }
      largest += own;
    }
    const uint64_t least = least_bytes(units);
    REQUIRE(test::slow_least_error(slow(units), least - 1) < 0);
    for (const uint64_t most : {least, (2 * least + largest) / 3, (least + 2 * largest) / 3, largest}) {
      const BudgetChoice choice = choose_formats(units, most);
      check_choice(units, choice, most);
      const double best = test::slow_least_error(slow(units), most);
      REQUIRE(best >= 0);
      CHECK(choice.error >= best - 1e-9);
      CHECK(choice.error <= best + dearest_step(units) + 1e-9);
      if (most == largest) CHECK(choice.error <= best + 1e-9);
      equal += choice.error <= best + 1e-9;
      ++runs;
    }
  }
  CHECK(2 * equal > runs);  // more often than not nothing is lost at all
}

TEST_CASE("more bytes never choose worse on a hull of equal steps, and dominated formats are left") {
  // Groups 128, 64, 32 and f16 of two weights, the second ten times as sensitive.
  const BudgetUnit plain = {{532, 1.0}, {562, 0.8}, {625, 0.6}, {2000, 0.0}};
  BudgetUnit sensitive = plain;
  for (BudgetCandidate& one : sensitive) one.error *= 10;
  BudgetUnit odd = plain;
  odd.push_back({600, 5.0});  // larger and worse
  const std::vector<BudgetUnit> units = {odd, sensitive};
  CHECK(least_bytes(units) == 2 * 532);
  double last = 1e9;
  for (uint64_t most = 2 * 532; most <= 4010; most += 7) {
    const BudgetChoice choice = choose_formats(units, most);
    check_choice(units, choice, most);
    CHECK(choice.chosen[0] != 4);
    CHECK(choice.error <= last + 1e-12);
    last = choice.error;
  }
  CHECK(last == 0);
  CHECK(choose_formats(units, 532 + 562).chosen == std::vector<size_t>{0, 1});
  CHECK(choose_formats(units, 562 + 2000).chosen == std::vector<size_t>{1, 3});
}
