// W8A8 with integers and one number at a time (papers.md 2.3, 2.4).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace pocket::test {

struct SlowCodes {
  std::vector<int> codes;
  float scale = 0;
};

// q = round(W / s), s = max |W| / 127, at least 1e-5 / 127; ties go to the even code.
inline SlowCodes slow_w8a8(const std::vector<float>& w) {
  float most = 1e-5f;
  for (const float v : w) most = std::fmax(most, std::fabs(v));
  SlowCodes out;
  out.scale = most / 127.0f;
  for (const float v : w) {
    const float exact = v / out.scale, below = std::floor(exact);
    int code = int(below);
    if (exact - below > 0.5f || (exact - below == 0.5f && code % 2 != 0)) ++code;
    out.codes.push_back(std::max(-127, std::min(127, code)));
  }
  return out;
}

// The steps of a value, an integer without limits: x / s as the runtime computes it, ties to even.
inline double slow_steps(float x, float act_scale) {
  const float inverse = 1.0f / act_scale;
  const float exact = x * inverse, below = std::floor(exact);
  if (!(std::fabs(exact) < 1e9f)) return double(exact);
  const bool up = exact - below > 0.5f || (exact - below == 0.5f && std::fmod(below, 2.0f) != 0);
  return double(below) + (up ? 1 : 0);
}

inline int slow_input_code(float x, float act_scale) {
  const double steps = slow_steps(x, act_scale);
  return int(std::fmax(-128.0, std::fmin(127.0, steps)));
}

// One output: the sum of integers, then both scales.
inline float slow_w8a8_output(const std::vector<float>& x, float act_scale,
                              const std::vector<int>& codes, float scale) {
  int64_t sum = 0;
  for (size_t k = 0; k < x.size(); ++k) sum += int64_t(slow_input_code(x[k], act_scale)) * codes[k];
  const float step = act_scale * scale;
  return float(sum) * step;
}

// Without limits to the codes of the input.
inline double slow_unclipped(const std::vector<float>& x, float act_scale,
                             const std::vector<int>& codes, float scale) {
  double sum = 0;
  for (size_t k = 0; k < x.size(); ++k) sum += slow_steps(x[k], act_scale) * codes[k];
  return sum * double(act_scale) * double(scale);
}

// Equation (1) as the paper prints it: clip(x / s, -127, 128) and, beside it, floor(x / s / 128) * 128.
inline double slow_equation_1(const std::vector<float>& x, float act_scale,
                              const std::vector<int>& codes, float scale) {
  double sum = 0;
  for (size_t k = 0; k < x.size(); ++k) {
    const double steps = slow_steps(x[k], act_scale);
    const double clipped = std::fmax(-127.0, std::fmin(128.0, steps));
    sum += (clipped + std::floor(steps / 128) * 128) * codes[k];
  }
  return sum * double(act_scale) * double(scale);
}

}  // namespace pocket::test
