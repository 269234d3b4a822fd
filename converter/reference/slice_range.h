// Which elements a Slice takes along one dimension.
#pragma once

#include <algorithm>
#include <cstdint>

namespace pocket::reference {

struct SliceRange {
  int64_t first = 0;
  int64_t count = 0;
};

// ONNX semantics: negative positions count from the end, positions beyond it are clamped.
inline SliceRange slice_range(int64_t start, int64_t end, int64_t step, int64_t size) {
  const auto from_front = [size](int64_t x) { return x < 0 ? x + size : x; };
  SliceRange range;
  if (step > 0) {
    range.first = std::clamp<int64_t>(from_front(start), 0, size);
    const int64_t stop = std::clamp<int64_t>(from_front(end), 0, size);
    if (stop > range.first) range.count = (stop - range.first - 1) / step + 1;
  } else {
    range.first = std::clamp<int64_t>(from_front(start), -1, size - 1);
    const int64_t stop = std::clamp<int64_t>(from_front(end), -1, size - 1);
    if (stop < range.first) {
      // The magnitude of the step as an unsigned number: -INT64_MIN does not exist.
      const auto stride = uint64_t{0} - static_cast<uint64_t>(step);
      range.count =
          static_cast<int64_t>(static_cast<uint64_t>(range.first - stop - 1) / stride) + 1;
    }
  }
  if (range.count == 0) range.first = 0;
  return range;
}

}  // namespace pocket::reference
