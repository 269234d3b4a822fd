#include "converter/quant/budget.h"

#include <algorithm>
#include <numeric>

namespace pocket {
namespace {

// From the smallest candidate to larger ones of less error, slopes falling.
std::vector<size_t> lower_hull(const BudgetUnit& unit) {
  std::vector<size_t> order(unit.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return unit[a].bytes != unit[b].bytes ? unit[a].bytes < unit[b].bytes
                                          : unit[a].error < unit[b].error;
  });
  // Error saved per byte from one candidate to a larger one.
  const auto slope = [&](size_t from, size_t to) {
    return (unit[from].error - unit[to].error) /
           static_cast<double>(unit[to].bytes - unit[from].bytes);
  };
  std::vector<size_t> hull;
  for (const size_t next : order) {
    if (!hull.empty() && unit[next].error >= unit[hull.back()].error) continue;
    while (hull.size() >= 2 && slope(hull[hull.size() - 2], hull.back()) <= slope(hull.back(), next)) {
      hull.pop_back();
    }
    hull.push_back(next);
  }
  return hull;
}

struct Step {
  size_t unit = 0, from = 0, to = 0;
  uint64_t bytes = 0;
  double slope = 0.0;  // error saved per byte
};

}  // namespace

uint64_t least_bytes(const std::vector<BudgetUnit>& units) {
  uint64_t sum = 0;
  for (const BudgetUnit& unit : units) {
    sum += std::min_element(unit.begin(), unit.end(), [](const auto& a, const auto& b) {
             return a.bytes < b.bytes;
           })->bytes;
  }
  return sum;
}

BudgetChoice choose_formats(const std::vector<BudgetUnit>& units, uint64_t most) {
  BudgetChoice choice;
  std::vector<Step> steps;
  for (size_t i = 0; i < units.size(); ++i) {
    const std::vector<size_t> hull = lower_hull(units[i]);
    choice.chosen.push_back(hull.front());
    choice.bytes += units[i][hull.front()].bytes;
    for (size_t k = 1; k < hull.size(); ++k) {
      const BudgetCandidate &from = units[i][hull[k - 1]], &to = units[i][hull[k]];
      const uint64_t bytes = to.bytes - from.bytes;
      steps.push_back({i, hull[k - 1], hull[k], bytes,
                       (from.error - to.error) / static_cast<double>(bytes)});
    }
  }
  // Slopes fall along a hull and equal ones keep their order, so a unit's steps stay in turn.
  std::stable_sort(steps.begin(), steps.end(),
                   [](const Step& a, const Step& b) { return a.slope > b.slope; });
  for (const Step& step : steps) {
    // Behind a step that did not fit, the others of its unit have nothing to start from.
    if (choice.chosen[step.unit] != step.from || choice.bytes + step.bytes > most) continue;
    choice.chosen[step.unit] = step.to;
    choice.bytes += step.bytes;
  }
  for (size_t i = 0; i < units.size(); ++i) choice.error += units[i][choice.chosen[i]].error;
  return choice;
}

}  // namespace pocket
