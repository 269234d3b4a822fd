// W8A8 as llm.npu has it (papers.md 2.3, 2.4): weights in 127 steps to each side of zero, activations
// in the steps of one static scale a tensor, found on a text.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <string>
#include <vector>

#include "converter/lower/weight_source.h"
#include "converter/quant/quant_error.h"

namespace pocket {

struct W8a8Options {
  // An input whose largest magnitude is below this many times its 99.9th percentile keeps all of
  // its range; of any other what lies beyond the percentile are outliers.
  float clip_threshold = 64.0f;
  bool per_channel = false;  // a scale of its own for each row of a weight
};

// Of the input of a linear.
struct ActivationScale {
  float step = 0.0f;      // what a code is worth
  bool outliers = false;  // the codes end at the 99.9th percentile
};
ActivationScale activation_scale(float most, float percentile_999, float clip_threshold);

// The largest outlier over what the codes reach: linears are ranked by it.
inline float outlier_importance(float most, float step) { return most / (128.0f * step); }

// What an input has beyond its codes, over many rows.
struct OutlierStatistics {
  int64_t rows = 0, columns = 0;
  int64_t outliers = 0;  // elements that are one
  int64_t channels = 0;  // columns that had one
  // The fewest columns that have at least 80 % of the outliers, rising, and the share of rows in
  // which each of them has one.
  std::vector<int32_t> hot_channels;
  std::vector<double> frequencies;
  double hit_rate = 0.0;  // share of the outliers that the hot channels have

  double saturation() const;  // share of elements beyond the codes
};

class OutlierCounter {
 public:
  using Rows = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

  OutlierCounter(int64_t columns, float step);
  void add(const Eigen::Ref<const Rows>& rows);
  OutlierStatistics finish() const;

 private:
  float step_;
  int64_t rows_ = 0;
  std::vector<int64_t> counts_;  // by column
};

struct W8a8Codes {
  std::vector<int8_t> codes;  // [rows, columns], -127 to 127
  std::vector<float> scales;  // [rows]; equal within a linear of the model unless per channel
  QuantError error;
};

// A merged weight keeps one scale for each linear that it was merged from. Throws Error(bad_input)
// naming the tensor when a value is not finite.
W8a8Codes w8a8_codes(const std::string& name, const WeightSource&, bool per_channel, int threads);

}  // namespace pocket
