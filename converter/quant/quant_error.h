// What rounding lost, as sums over the weights of a tensor; mean squared error and signal to noise
// follow from them.
#pragma once

#include <cstdint>

namespace pocket {

struct QuantError {
  double squared_error = 0.0;
  double squared_norm = 0.0;
  // Weights that lie more than half a step beyond the grid of their group.
  int64_t saturated = 0;
  void add(const QuantError& other) {
    squared_error += other.squared_error;
    squared_norm += other.squared_norm;
    saturated += other.saturated;
  }
};

}  // namespace pocket
