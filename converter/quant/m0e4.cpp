#include "converter/quant/m0e4.h"

#include <algorithm>
#include <cmath>

#include "runtime/package/weight.h"

namespace pocket {
namespace {

float scale_of(uint32_t pair) { return half_to_float(static_cast<uint16_t>(pair)); }
float bias_of(uint32_t pair) { return half_to_float(static_cast<uint16_t>(pair >> 16)); }

}  // namespace

bool M0e4::pair_for(float low, float high, uint32_t* pair) {
  const float scale = (high - low) * (16.0f / 15.0f);
  const uint16_t rounded = float_to_half(scale);
  // From the rounded scale, so that the lowest value stays on the grid.
  const uint16_t bias = float_to_half(low - half_to_float(rounded));
  *pair = rounded | uint32_t{bias} << 16;
  return std::isfinite(scale_of(*pair)) && std::isfinite(bias_of(*pair));
}

void M0e4::encode(const float* values, int64_t count, uint32_t pair, uint8_t* codes) {
  const float scale = scale_of(pair), bias = bias_of(pair);
  if (scale == 0.0f) {
    std::fill_n(codes, count, uint8_t{0});
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    const float position = (values[i] - bias) / scale * 16.0f - 16.0f;
    codes[i] = static_cast<uint8_t>(std::clamp(position, 0.0f, 15.0f) + 0.5f);
  }
}

float M0e4::decode(uint8_t code, uint32_t pair) {
  return scale_of(pair) * (1.0f + static_cast<float>(code) / 16.0f) + bias_of(pair);
}

ScaleBias m0e4_from_integer(double s, double z) { return {16.0 * s, -(16.0 + z) * s}; }

}  // namespace pocket
