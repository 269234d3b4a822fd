#include "converter/quant/rtn.h"

#include <algorithm>
#include <cmath>

namespace pocket {

void clear_codes(const WeightFormat& format, uint8_t* codes, uint32_t* pairs) {
  std::fill_n(codes, format.rows * format.padded_columns(), uint8_t{0});
  std::fill_n(pairs, format.rows * format.groups(), uint32_t{0});
}

QuantError rtn(const WeightFormat& format, const std::string& name, const float* values,
               uint8_t* codes, uint32_t* pairs, bool clip) {
  const int64_t padded = format.padded_columns();
  clear_codes(format, codes, pairs);
  for (int64_t row = 0; row < format.rows; ++row) {
    for (int64_t group = 0; group < filled_groups(format); ++group) {
      const int64_t first = group * format.group;
      const int64_t count = std::min(format.group, format.columns - first);  // the last is short
      uint8_t* out = codes + row * padded + first;
      const float* in = values + row * format.columns + first;
      uint32_t* pair = pairs + row * format.groups() + group;
      // The search also says what is wrong with a group that has no plain range.
      const auto finite = [](float value) { return std::isfinite(value); };
      if (clip || !std::all_of(in, in + count, finite) ||
          !round_group(format.encoding, in, count, out, pair)) {
        clip_search(format.encoding, name, in, count, {}, out, pair);
      }
    }
  }
  return error_of_codes(format, values, codes, pairs);
}

QuantError error_of_codes(const WeightFormat& format, const float* values, const uint8_t* codes,
                          const uint32_t* pairs) {
  QuantError sum;
  float levels[16];
  double middle = 0.0, reach = 0.0;
  for (int64_t row = 0; row < format.rows; ++row) {
    for (int64_t k = 0; k < format.columns; ++k) {
      if (k % format.group == 0) {
        decode_levels(format.encoding, pairs[row * format.groups() + k / format.group], levels);
        middle = (double{levels[0]} + double{levels[15]}) / 2;
        reach = (double{levels[15]} - double{levels[0]}) * (16.0 / 30.0);
      }
      const double value = double{values[row * format.columns + k]};
      const double difference = value - double{levels[codes[row * format.padded_columns() + k]]};
      sum.squared_error += difference * difference;
      sum.squared_norm += value * value;
      // A group of one value has a grid without extent, and nothing beyond it.
      sum.saturated += reach > 0.0 && std::fabs(value - middle) > reach;
    }
  }
  return sum;
}

}  // namespace pocket
