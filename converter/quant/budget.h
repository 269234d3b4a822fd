// What a budget of bytes buys: weights (or pairs that must be alike) may each take one of several
// formats. Of each, only the formats on the lower convex hull of error over bytes come into
// question; from the smallest of all, the steps along the hulls that save the most error per byte
// are taken while they fit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace pocket {

struct BudgetCandidate {
  uint64_t bytes = 0;
  double error = 0.0;  // finite, at least 0; errors of all units are added
};
using BudgetUnit = std::vector<BudgetCandidate>;  // at least one

struct BudgetChoice {
  std::vector<size_t> chosen;  // candidate by unit
  uint64_t bytes = 0;
  double error = 0.0;
};

// The smallest file there is.
uint64_t least_bytes(const std::vector<BudgetUnit>& units);

// `most` is at least least_bytes(). The choice takes at most that, and its error exceeds the least
// possible one by at most what the dearest single step saves.
BudgetChoice choose_formats(const std::vector<BudgetUnit>& units, uint64_t most);

}  // namespace pocket
