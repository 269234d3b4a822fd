// Round-to-nearest on both grids, as the formulas of papers.md 1.2 read, one number at a time, and
// the clip search as "try them all, keep the best".
#pragma once

#include <cmath>
#include <functional>
#include <optional>
#include <vector>

#include "runtime/package/weight.h"

namespace pocket::test {

struct SlowGroup {
  uint16_t scale = 0, second = 0;  // fp16 bits: S and B, or s and z
  std::vector<int> codes;
  double squared_error = 0;
  uint32_t pair() const { return scale | uint32_t{second} << 16; }
};

inline float slow_decode(bool m0e4, const SlowGroup& group, int code) {
  const float first = half_to_float(group.scale), second = half_to_float(group.second);
  if (!m0e4) return first * (float(code) - second);
  // The value of the fp16 whose top fraction bits hold the code.
  const float y = half_to_float(uint16_t(0x3C00 | code << 6));
  return first * y + second;
}

// The nearest code of one number.
inline int slow_code(bool m0e4, const SlowGroup& group, float v) {
  const float first = half_to_float(group.scale), second = half_to_float(group.second);
  if (first == 0) return m0e4 ? 0 : int(second);
  float q = m0e4 ? (v - second) / first * 16.0f - 16.0f : v / first + second;
  if (q < 0) q = 0;
  if (q > 15) q = 15;
  return int(std::floor(q + 0.5f));
}

// With `zero_on_grid` an m0e4 group takes the scale and the integer zero point of int4.
inline std::optional<SlowGroup> slow_try(bool m0e4, const std::vector<float>& x, float m, float M,
                                         bool zero_on_grid = false) {
  SlowGroup group;
  if (m0e4 && zero_on_grid) {
    const auto int4 = slow_try(false, {}, m, M);
    if (!int4) return std::nullopt;
    const float s = half_to_float(int4->scale), z = half_to_float(int4->second);
    group.scale = float_to_half(16 * s);
    group.second = float_to_half(float(-(16.0 + double(z)) * double(s)));
  } else if (m0e4) {
    group.scale = float_to_half((M - m) * (16.0f / 15.0f));
    group.second = float_to_half(m - half_to_float(group.scale));
  } else {
    m = std::fmin(m, 0.0f);
    M = std::fmax(M, 0.0f);
    group.scale = float_to_half((M - m) / 15.0f);
    const float s = half_to_float(group.scale);
    float z = 0;
    if (s != 0) z = std::floor(std::fmin(std::fmax(-m / s, 0.0f), 15.0f) + 0.5f);
    group.second = float_to_half(z);
  }
  const float first = half_to_float(group.scale), second = half_to_float(group.second);
  if (!std::isfinite(first) || !std::isfinite(second)) return std::nullopt;
  for (const float v : x) {
    const int code = slow_code(m0e4, group, v);
    group.codes.push_back(code);
    const double d = double(v) - double(slow_decode(m0e4, group, code));
    group.squared_error += d * d;
  }
  return group;
}

// The grid of the whole range: with zero on it, where that loses less.
inline std::optional<SlowGroup> slow_round(bool m0e4, const std::vector<float>& x, float m,
                                           float M) {
  const auto free = slow_try(m0e4, x, m, M), zeroed = slow_try(m0e4, x, m, M, true);
  if (!m0e4 || !zeroed || (free && free->squared_error <= zeroed->squared_error)) return free;
  return zeroed;
}

// The grids that a search tries: seven ranges, each with and without zero on the grid.
inline std::vector<SlowGroup> slow_candidates(bool m0e4, const std::vector<float>& x) {
  float m = x[0], M = x[0];
  for (const float v : x) {
    m = std::fmin(m, v);
    M = std::fmax(M, v);
  }
  std::vector<SlowGroup> tried;
  for (const float shrink : {1.0f, 0.95f, 0.9f, 0.85f, 0.8f, 0.75f, 0.7f}) {
    float low = m, high = M;
    if (shrink != 1.0f) {
      const double middle = (double(m) + double(M)) / 2, half = (double(M) - double(m)) / 2;
      low = float(middle - half * double(shrink));
      high = float(middle + half * double(shrink));
    }
    for (const bool zero_on_grid : {false, true}) {
      const auto group = slow_try(m0e4, x, low, high, zero_on_grid);
      if (group) tried.push_back(*group);
    }
  }
  return tried;
}

// The one whose codes have the least loss, a function of the differences.
inline SlowGroup slow_clip(bool m0e4, const std::vector<float>& x,
                           const std::function<double(const std::vector<double>&)>& loss_of) {
  std::optional<SlowGroup> best;
  double least = 0;
  for (const SlowGroup& group : slow_candidates(m0e4, x)) {
    std::vector<double> differences;
    for (size_t i = 0; i < x.size(); ++i) {
      differences.push_back(double(x[i]) - double(slow_decode(m0e4, group, group.codes[i])));
    }
    const double loss = loss_of(differences);
    if (!best || loss < least) best = group, least = loss;
  }
  return *best;
}

inline SlowGroup slow_rtn(bool m0e4, const std::vector<float>& x) {
  return slow_clip(m0e4, x, [](const std::vector<double>& differences) {
    double sum = 0;
    for (const double d : differences) sum += d * d;
    return sum;
  });
}

}  // namespace pocket::test
