// GPTQ: the columns of a matrix are rounded one after the other, and what a column loses is made
// good in the columns that are still to come, weighed by the inverse of the inputs' second moments.
// The codes are chosen on the encoding's own grid, with scale and bias (or zero point) in fp16, so
// that the feedback sees what the shader computes.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <string>
#include <vector>

#include "converter/quant/clip_search.h"
#include "converter/quant/quant_error.h"

namespace pocket {

struct GptqOptions {
  double damping = 0.01;  // added to the diagonal, as a share of its mean; tenfold at each retry
  // Columns in the order of falling second moments. Every group's pair is then chosen before the
  // first column is rounded; otherwise when its first column is reached.
  bool act_order = false;
  // The pair is chosen among those of the clip search; otherwise codes span the whole range of a
  // group, unless fp16 cannot hold that. A group whose columns follow each other is rounded under each
  // pair, feedback and all, and the least loss counts; in act-order its values are taken as they are.
  bool clip = true;
  int threads = 1;
};

// What rounding needs of the moments; one serves all matrices that read the same input.
class GptqFactor {
 public:
  using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

  // `moments` [K, K] is symmetric. An input that was always zero has no feedback. Throws
  // Error(bad_input) naming the tensor when the moments are not finite or, even damped by ten times
  // their mean, not positive definite.
  GptqFactor(const std::string& name, const Eigen::MatrixXf& moments, const GptqOptions&);

  const std::vector<int64_t>& order() const { return order_; }  // column at each position
  const Matrix& upper() const { return upper_; }  // U with U^T U = inverse of the damped moments
  // What a unit of squared rounding error costs at a position: 1 / U_ii^2.
  const std::vector<double>& weights() const { return weights_; }
  bool act_order() const { return act_order_; }
  bool clip() const { return clip_; }
  double damping() const { return damping_; }  // that sufficed

 private:
  std::vector<int64_t> order_;
  Matrix upper_;
  std::vector<double> weights_;
  bool act_order_;
  bool clip_;
  double damping_;
};

// As rtn(); rows are independent of each other, so tiles of rows may be encoded one by one.
QuantError gptq(const WeightFormat& format, const std::string& name, const GptqFactor& factor,
                const float* values, uint8_t* codes, uint32_t* pairs);

}  // namespace pocket
