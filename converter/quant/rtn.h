// Round to nearest, by default with a clip search on the weights alone (clip_search.h).
#pragma once

#include <cstdint>
#include <string>

#include "converter/quant/clip_search.h"
#include "converter/quant/quant_error.h"

namespace pocket {

// Encodes `format.rows` rows of `format.columns` floats; groups of 1 to kMaxGroup weights, the last
// of a row may be short.
//   codes  [rows, padded_columns]; lanes in the padding hold 0
//   pairs  [rows, groups]; 0 where a group holds padding only
// Without `clip` a group's codes span its whole range, unless fp16 cannot hold that.
// `name` is the tensor that an Error(bad_input) names when a value is not finite or too large.
QuantError rtn(const WeightFormat& format, const std::string& name, const float* values,
               uint8_t* codes, uint32_t* pairs, bool clip = true);

// What the padding of a tile holds, everywhere.
void clear_codes(const WeightFormat& format, uint8_t* codes, uint32_t* pairs);

// What an algorithm made of a tile: squared differences between the values and the decoded codes.
QuantError error_of_codes(const WeightFormat& format, const float* values, const uint8_t* codes,
                          const uint32_t* pairs);

}  // namespace pocket
