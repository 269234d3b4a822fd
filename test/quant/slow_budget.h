// Every combination of formats, one after the other.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace pocket::test {

using SlowCandidates = std::vector<std::vector<std::pair<uint64_t, double>>>;  // bytes and error

// The least error of all combinations that take at most `most` bytes; negative where there is none.
inline double slow_least_error(const SlowCandidates& units, uint64_t most, size_t from = 0) {
  if (from == units.size()) return 0;
  double least = -1;
  for (const auto& [bytes, error] : units[from]) {
    if (bytes > most) continue;
    const double rest = slow_least_error(units, most - bytes, from + 1);
    if (rest >= 0 && (least < 0 || error + rest < least)) least = error + rest;
  }
  return least;
}

}  // namespace pocket::test
