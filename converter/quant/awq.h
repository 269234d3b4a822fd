// AWQ: inputs that matter get finer steps. The columns of all linears that read one input are
// multiplied by scales that the operator before them divides out, x W^T = (x / s) (W s)^T, with
// s = (mean magnitude of the input)^ratio; the ratio is the one of 20 between 0 and 0.95 whose
// rounded weights give the least squared error of the output.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <string>
#include <vector>

#include "converter/quant/clip_search.h"
#include "converter/quant/quant_error.h"

namespace pocket {

struct AwqProblem {
  using Rows = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

  Encoding encoding = Encoding::m0e4;
  int64_t group = 0;
  const Eigen::MatrixXf* moments = nullptr;  // [K, K] of the input
  std::vector<float> magnitudes;             // [K], means
  // The scale that each input takes: inputs that the operator before makes of one and the same row
  // (heads that share keys and values) share one.
  std::vector<int64_t> sources;  // [K], in [0, scales)
  int64_t scales = 0;
  Rows rows;  // of the linears, or a sample of them
};

struct AwqScales {
  double ratio = 0.0;  // 0: all scales are 1
  std::vector<float> scales;
  double loss = 0.0, unscaled_loss = 0.0;  // of the output, per row of the input
};

// Rounds without a clip search, as the published method does.
AwqScales awq_search(const AwqProblem& problem, int threads);

// The clip search of AWQ: as rtn(), with the error of the output for a metric. `moments` are those
// of the scaled input.
QuantError awq_clip(const WeightFormat& format, const std::string& name,
                    const Eigen::MatrixXf& moments, const float* values, uint8_t* codes,
                    uint32_t* pairs);

}  // namespace pocket
