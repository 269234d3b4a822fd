// The pair of one group of weights: out of the group's own range and ranges shrunk towards its
// middle, the one whose nearest codes lose the least. A real-bias grid is also tried with the
// integer zero points of int4, so that it loses to int4 on no group by more than its bias rounds.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/package/weight.h"

namespace pocket {

// How the differences d between the values of a group and their decoded codes are weighed: by the
// moments where given, d^T M d, else by the weights, sum of w d^2, else plainly.
struct GroupMetric {
  const double* weights = nullptr;  // [count]
  const float* moments = nullptr;   // [count, count], symmetric
  int64_t moment_stride = 0;        // floats from one row of the moments to the next
};

inline constexpr int64_t kMaxGroup = 256;

// Groups of a row that hold weights; behind them a row of groups of 16 may store one more, of padding.
inline int64_t filled_groups(const WeightFormat& format) {
  return (format.columns + format.group - 1) / format.group;
}

// Writes `count` codes (1 to kMaxGroup) and the pair; returns what is lost, in the metric. Throws
// Error(bad_input) naming the tensor when a value is not finite, or when none of the ranges fits
// fp16. Only for the 4-bit encodings.
double clip_search(Encoding encoding, const std::string& name, const float* values, int64_t count,
                   const GroupMetric& metric, uint8_t* codes, uint32_t* pair);

// The nearest codes of the whole range, without a search for a part of it; false when it does not
// fit fp16.
bool round_group(Encoding encoding, const float* values, int64_t count, uint8_t* codes,
                 uint32_t* pair);

// The sixteen values of a pair.
void decode_levels(Encoding encoding, uint32_t pair, float levels[16]);
// The nearest code of one value, and what a code is worth.
uint8_t nearest_code(Encoding encoding, float value, uint32_t pair);
float decode_code(Encoding encoding, uint8_t code, uint32_t pair);

}  // namespace pocket
