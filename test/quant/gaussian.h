// Values like those of a weight matrix.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

namespace pocket::test {

inline std::vector<float> gaussian(int64_t count, uint32_t seed, float deviation = 0.05f) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, deviation);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = normal(random);
  return values;
}

}  // namespace pocket::test
