#include "converter/quant/m0e4.h"

#include <Eigen/Core>
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
  constexpr int64_t kChunk = 64;
  for (int64_t first = 0; first < count; first += kChunk) {
    const int64_t size = std::min(kChunk, count - first);
    const Eigen::Map<const Eigen::ArrayXf> x(values + first, size);
    const Eigen::Array<int32_t, Eigen::Dynamic, 1, Eigen::ColMajor, kChunk, 1> nearest =
        (((x - bias) / scale * 16.0f - 16.0f).max(0.0f).min(15.0f) + 0.5f).cast<int32_t>();
    for (int64_t i = 0; i < size; ++i) codes[first + i] = static_cast<uint8_t>(nearest(i));
  }
}

float M0e4::decode(uint8_t code, uint32_t pair) {
  return scale_of(pair) * (1.0f + static_cast<float>(code) / 16.0f) + bias_of(pair);
}

void M0e4::levels(uint32_t pair, float out[16]) {
  const float scale = scale_of(pair), bias = bias_of(pair);
  for (int code = 0; code < 16; ++code) {
    out[code] = scale * (1.0f + static_cast<float>(code) / 16.0f) + bias;
  }
}

ScaleBias m0e4_from_integer(double s, double z) { return {16.0 * s, -(16.0 + z) * s}; }

}  // namespace pocket
