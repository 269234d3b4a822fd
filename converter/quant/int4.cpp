#include "converter/quant/int4.h"

#include <Eigen/Core>
#include <algorithm>
#include <cmath>

#include "runtime/package/weight.h"

namespace pocket {
namespace {

float scale_of(uint32_t pair) { return half_to_float(static_cast<uint16_t>(pair)); }
float zero_of(uint32_t pair) { return half_to_float(static_cast<uint16_t>(pair >> 16)); }

}  // namespace

bool Int4::pair_for(float low, float high, uint32_t* pair) {
  low = std::min(low, 0.0f);
  high = std::max(high, 0.0f);
  const uint16_t rounded = float_to_half((high - low) / 15.0f);
  const float scale = half_to_float(rounded);
  const float zero =
      scale == 0.0f ? 0.0f : std::floor(std::clamp(-low / scale, 0.0f, 15.0f) + 0.5f);
  *pair = rounded | uint32_t{float_to_half(zero)} << 16;
  return std::isfinite(scale);
}

void Int4::encode(const float* values, int64_t count, uint32_t pair, uint8_t* codes) {
  const float scale = scale_of(pair), zero = zero_of(pair);
  if (scale == 0.0f) {
    std::fill_n(codes, count, static_cast<uint8_t>(zero));
    return;
  }
  constexpr int64_t kChunk = 64;
  for (int64_t first = 0; first < count; first += kChunk) {
    const int64_t size = std::min(kChunk, count - first);
    const Eigen::Map<const Eigen::ArrayXf> x(values + first, size);
    const Eigen::Array<int32_t, Eigen::Dynamic, 1, Eigen::ColMajor, kChunk, 1> nearest =
        ((x / scale + zero).max(0.0f).min(15.0f) + 0.5f).cast<int32_t>();
    for (int64_t i = 0; i < size; ++i) codes[first + i] = static_cast<uint8_t>(nearest(i));
  }
}

float Int4::decode(uint8_t code, uint32_t pair) {
  return scale_of(pair) * (static_cast<float>(code) - zero_of(pair));
}

void Int4::levels(uint32_t pair, float out[16]) {
  const float scale = scale_of(pair), zero = zero_of(pair);
  for (int code = 0; code < 16; ++code) out[code] = scale * (static_cast<float>(code) - zero);
}

}  // namespace pocket
