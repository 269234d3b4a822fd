// One weight of a calibrated model: rounded to the sections that the file holds, decoded again to what
// the layers behind are measured on, and what that loses of the linear's output.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <optional>
#include <vector>

#include "converter/quant/encode.h"
#include "converter/quant/sites.h"

namespace pocket {

struct PackedWeight {
  std::vector<uint8_t> codes, pairs;  // planes and tables one after another, for any precision
  QuantError error;
};

// 4-bit codes, to nearest where `round` is empty; `clip` as of rtn().
PackedWeight pack(const QuantWeight&, bool clip, int threads, RowRounder round = {});
// Any precision, a column counting by its second moment.
PackedWeight pack_any(const QuantWeight&, const Eigen::MatrixXf& moments, int threads);

// The values [rows, columns] of the width in use.
std::vector<float> unpack(const WeightFormat&, const PackedWeight&);

// Mean squared error of the output over that of the output itself, from the second moments of the
// input; nothing without moments, or where the output is zero. Rows that carry a scale of their own
// count as the model has them.
std::optional<double> output_error(const QuantWeight&, const std::vector<float>& decoded,
                                   const Eigen::MatrixXf& moments, int threads);

}  // namespace pocket
