// Round to nearest with a clip search: each group takes the range, out of its own and ranges
// shrunk towards its middle, whose codes have the least squared error.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/package/weight.h"

namespace pocket {

// Sums over the weights of a tensor; mean squared error and signal to noise follow from them.
struct QuantError {
  double squared_error = 0.0;
  double squared_norm = 0.0;
  void add(const QuantError& other);
};

// Encodes `format.rows` rows of `format.columns` floats.
//   codes  [rows, padded_columns]; lanes in the padding hold 0
//   pairs  [rows, groups]
// `name` is the tensor that an Error(bad_input) names when a value is not finite or too large.
QuantError rtn(const WeightFormat& format, const std::string& name, const float* values,
               uint8_t* codes, uint32_t* pairs);

}  // namespace pocket
