#include "converter/quant/rtn.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "converter/quant/int4.h"
#include "converter/quant/m0e4.h"
#include "runtime/base/error.h"

namespace pocket {
namespace {

// Width of the range that a group's codes span, relative to the group's own.
constexpr float kShrinks[] = {1.0f, 0.95f, 0.9f, 0.85f, 0.8f, 0.75f, 0.7f};
constexpr int64_t kMaxGroup = 256;

template <typename Grid>
double error_of(const float* values, int64_t count, const uint8_t* codes, uint32_t pair) {
  float level[16];
  for (uint8_t code = 0; code < 16; ++code) level[code] = Grid::decode(code, pair);
  double sum = 0.0;
  for (int64_t i = 0; i < count; ++i) {
    const double difference = double{values[i]} - double{level[codes[i]]};
    sum += difference * difference;
  }
  return sum;
}

template <typename Grid>
QuantError encode_group(const std::string& name, const float* values, int64_t count, uint8_t* codes,
                        uint32_t* pair) {
  float low = values[0], high = values[0];
  QuantError best;
  for (int64_t i = 0; i < count; ++i) {
    if (!std::isfinite(values[i])) {
      throw Error(ExitCode::bad_input, "Tensor '" + name +
                                           "' holds a value that is no finite number, so it "
                                           "cannot be quantised: export the model again.");
    }
    low = std::min(low, values[i]);
    high = std::max(high, values[i]);
    best.squared_norm += double{values[i]} * double{values[i]};
  }
  const double middle = (double{low} + double{high}) / 2, half = (double{high} - double{low}) / 2;
  bool found = false;
  uint8_t trial[kMaxGroup];
  for (const float shrink : kShrinks) {
    uint32_t candidate = 0;
    const auto from = shrink == 1.0f ? low : static_cast<float>(middle - half * double{shrink});
    const auto to = shrink == 1.0f ? high : static_cast<float>(middle + half * double{shrink});
    if (!Grid::pair_for(from, to, &candidate)) continue;
    Grid::encode(values, count, candidate, trial);
    const double error = error_of<Grid>(values, count, trial, candidate);
    if (found && error >= best.squared_error) continue;
    found = true;
    best.squared_error = error;
    *pair = candidate;
    std::copy_n(trial, count, codes);
  }
  if (!found) {
    throw Error(ExitCode::bad_input, "Tensor '" + name + "' has values from " +
                                         std::to_string(low) + " to " + std::to_string(high) +
                                         ", too large for a scale in fp16 (65504).");
  }
  return best;
}

}  // namespace

void QuantError::add(const QuantError& other) {
  squared_error += other.squared_error;
  squared_norm += other.squared_norm;
}

QuantError rtn(const WeightFormat& format, const std::string& name, const float* values,
               uint8_t* codes, uint32_t* pairs) {
  check_format(format, name);
  const auto encode = format.encoding == Encoding::m0e4 ? encode_group<M0e4> : encode_group<Int4>;
  const int64_t padded = format.padded_columns();
  QuantError sum;
  for (int64_t row = 0; row < format.rows; ++row) {
    for (int64_t group = 0; group < format.groups(); ++group) {
      const int64_t first = group * format.group;
      const int64_t count = std::min(format.group, format.columns - first);  // the last is short
      uint8_t* out = codes + row * padded + first;
      std::fill(out + count, out + format.group, uint8_t{0});
      sum.add(encode(name, values + row * format.columns + first, count, out,
                     pairs + row * format.groups() + group));
    }
  }
  return sum;
}

}  // namespace pocket
