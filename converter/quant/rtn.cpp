#include "converter/quant/rtn.h"

#include <algorithm>

namespace pocket {

QuantError rtn(const WeightFormat& format, const std::string& name, const float* values,
               uint8_t* codes, uint32_t* pairs) {
  const int64_t padded = format.padded_columns();
  for (int64_t row = 0; row < format.rows; ++row) {
    for (int64_t group = 0; group < format.groups(); ++group) {
      const int64_t first = group * format.group;
      const int64_t count = std::min(format.group, format.columns - first);  // the last is short
      uint8_t* out = codes + row * padded + first;
      std::fill(out + count, out + format.group, uint8_t{0});
      clip_search(format.encoding, name, values + row * format.columns + first, count, {}, out,
                  pairs + row * format.groups() + group);
    }
  }
  return error_of_codes(format, values, codes, pairs);
}

QuantError error_of_codes(const WeightFormat& format, const float* values, const uint8_t* codes,
                          const uint32_t* pairs) {
  QuantError sum;
  float levels[16];
  for (int64_t row = 0; row < format.rows; ++row) {
    for (int64_t k = 0; k < format.columns; ++k) {
      if (k % format.group == 0) {
        decode_levels(format.encoding, pairs[row * format.groups() + k / format.group], levels);
      }
      const double value = double{values[row * format.columns + k]};
      const double difference = value - double{levels[codes[row * format.padded_columns() + k]]};
      sum.squared_error += difference * difference;
      sum.squared_norm += value * value;
    }
  }
  return sum;
}

}  // namespace pocket
