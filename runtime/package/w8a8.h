// Signed 8-bit weights times signed 8-bit activations, both symmetric (llm.npu, papers.md 2.3): the
// formulas of kernels, reference and converter, and the packing of the weights. Activations have one
// static scale a tensor, weights one a row (all the same where a whole linear shares one).
//
//   q(x) = clamp(round_half_even(x * inverse), -128, 127), inverse = 1 / act_scale in f32; NaN: 0
//   y    = float(sum of q * code in 32 bits) * (act_scale * scale of the row), all f32
//
// then bias, activation and residual as for every encoding. Sums are exact: 128 * 127 * K < 2^31.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "runtime/package/weight.h"

namespace pocket {

inline constexpr int64_t kMostW8a8Columns = 132104;
inline constexpr int32_t kMostW8a8Code = 127;  // of a weight, either sign

// Scales whose inverse is a normal number too, so that no device may flush one of them to zero.
inline constexpr float kLeastActScale = std::numeric_limits<float>::min();
inline constexpr float kMostActScale = 1.0f / std::numeric_limits<float>::min();
inline bool is_act_scale(float scale) { return scale >= kLeastActScale && scale <= kMostActScale; }

// q(x) before the clamp; what lies outside of -128..127 is an outlier.
inline float w8a8_rounded(float x, float inverse) {
  const float scaled = x * inverse;
  return std::isnan(scaled) ? 0.0f : std::nearbyint(scaled);
}

inline int8_t w8a8_quantise(float x, float inverse) {
  return static_cast<int8_t>(std::clamp(w8a8_rounded(x, inverse), -128.0f, 127.0f));
}

inline float w8a8_result(int32_t sum, float act_scale, float scale) {
  const float step = act_scale * scale;
  return static_cast<float>(sum) * step;
}

// A row of the scale section.
struct W8a8Row {
  float scale = 0;
  int32_t sum = 0;  // of the codes: kernels with unsigned activations, q + 128, take 128 times it off
};

// Codes [rows, columns], scales [rows]. Tiles of rows as pack_codes() has them.
std::vector<uint8_t> pack_w8a8_codes(const WeightFormat&, const int8_t* codes);
std::vector<uint8_t> pack_w8a8_scales(const WeightFormat&, const float* scales,
                                      const int8_t* codes);

// One code, and one row's scale, of joined sections.
int8_t w8a8_code(const WeightFormat&, const uint8_t* codes, int64_t row, int64_t column);
W8a8Row w8a8_row(const uint8_t* scales, int64_t row);

// What a file must hold that has w8a8 weights: an input scale for each, well-formed outliers, no
// other use than as the matrix of a linear, and one input scale for the two of a gate. Throws
// Error(bad_input).
void check_w8a8(const struct Manifest&);

}  // namespace pocket
