// Numpy broadcasting for the reference operators.
#pragma once

#include <array>
#include <vector>

#include "converter/reference/registry.h"

namespace pocket::reference {

Shape broadcast_shapes(const Call&, const std::vector<Shape>& shapes);

// Element strides of `shape` inside `out`: 0 where a dimension is repeated.
Shape broadcast_strides(const Shape& shape, const Shape& out);

Shape row_major_strides(const Shape&);

// Axis counted from the front, from one that may be negative; fails outside [-rank, rank).
int64_t normal_axis(const Call&, int64_t axis, int64_t rank);

// Calls f(flat index in `out`, {offset in each operand}) for all elements of `out` in order, where
// operand k moves by strides[k][d] elements along dimension d.
template <size_t N, typename F>
void for_each_element(const Shape& out, const std::array<Shape, N>& strides, F f) {
  const int64_t count = element_count(out);
  if (count == 0) return;
  const size_t rank = out.size();
  const int64_t inner = rank == 0 ? 1 : out[rank - 1];
  std::array<int64_t, N> offset{}, step{};
  for (size_t k = 0; k < N; ++k) step[k] = rank == 0 ? 0 : strides[k][rank - 1];
  std::vector<int64_t> position(rank, 0);
  for (int64_t flat = 0; flat < count; flat += inner) {
    std::array<int64_t, N> at = offset;
    for (int64_t x = 0; x < inner; ++x) {
      f(flat + x, at);
      for (size_t k = 0; k < N; ++k) at[k] += step[k];
    }
    for (size_t d = rank < 2 ? 0 : rank - 1; d-- > 0;) {
      for (size_t k = 0; k < N; ++k) offset[k] += strides[k][d];
      if (++position[d] < out[d]) break;
      for (size_t k = 0; k < N; ++k) offset[k] -= strides[k][d] * out[d];
      position[d] = 0;
    }
  }
}

}  // namespace pocket::reference
