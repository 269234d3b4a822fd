// A weight matrix read row by row from the model's constants. Parts are stacked along the rows
// (merged projections); a part may lie transposed in the file. Nothing is copied or transposed
// before a row is asked for, so a matrix larger than memory is quantised tile by tile.
#pragma once

#include <cstdint>
#include <vector>

#include "converter/ir/graph.h"

namespace pocket {

// Rows [first_row, first_row + rows) of one constant seen as a matrix [N, K].
struct WeightPart {
  ir::TensorData data;  // 2-D: [N, K], or [K, N] when transposed; 1-D [K]: a single row
  bool transposed = false;
  int64_t first_row = 0;
  int64_t rows = 0;
  float factor = 1.0f;  // of every number
};

class WeightSource {
 public:
  WeightSource() = default;
  // All parts have the same number of columns. Throws Error(bad_input) when they do not, when a
  // part is no float tensor, or when its bytes are too few for its shape.
  explicit WeightSource(std::vector<WeightPart> parts);

  int64_t rows() const { return rows_; }
  int64_t columns() const { return columns_; }
  const std::vector<WeightPart>& parts() const { return parts_; }

  // Writes rows [first, first + count) as `count * columns()` floats. Transposed parts are read
  // in column order, so ask for many rows at once (64 or more). Safe from several threads.
  void read_rows(int64_t first, int64_t count, float* out) const;

  // Multiplies rows [first, first + factors) or all columns, on top of what was multiplied before:
  // scales that quantisation moves from one operator into the next.
  void scale_rows(int64_t first, const std::vector<float>& factors);
  void scale_columns(const std::vector<float>& factors);
  float row_scale(int64_t row) const {
    return row_scales_.empty() ? 1.0f : row_scales_[static_cast<size_t>(row)];
  }

  // The same numbers in the same places, by identity of the bytes or by comparing them.
  bool same_values(const WeightSource& other) const;

 private:
  std::vector<WeightPart> parts_;
  int64_t rows_ = 0;
  int64_t columns_ = 0;
  std::vector<float> row_scales_, column_scales_;  // empty: 1
};

}  // namespace pocket
