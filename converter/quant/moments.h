// What calibration knows of one input of linears: second moments (GPTQ, AWQ, output errors), mean
// magnitudes (AWQ), and the maximum and the 99.9th percentile of the magnitudes. Rows that are held
// out have moments of their own, on which errors are reported.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <string>
#include <vector>

#include "converter/quant/magnitudes.h"

namespace pocket {

struct InputStatistics {
  int64_t rows = 0, held_out_rows = 0;
  Eigen::MatrixXf second;           // [K, K], mean of x x^T over the rows
  Eigen::MatrixXf held_out_second;  // the same over the rows held out; empty when there are none
  std::vector<float> mean_magnitude;  // [K]
  // Over all rows, held out or not (magnitudes.h).
  float most = 0.0f, percentile_999 = 0.0f;
};

class MomentsCollector {
 public:
  using Rows = Magnitudes::Rows;

  // `name` of the linear that an Error names.
  MomentsCollector(std::string name, int64_t columns);
  // Throws Error(bad_input) when a value is not finite.
  void add(const Eigen::Ref<const Rows>& rows, bool held_out, int threads);
  // Once, the sums become the means. Throws Error(bad_input) when there was no row.
  InputStatistics finish();

 private:
  struct Sum {
    int64_t rows = 0;
    Eigen::MatrixXf moments;  // lower triangle
  };

  std::string name_;
  int64_t columns_;
  Sum used_, held_out_;
  std::vector<double> sums_;  // [K] of magnitudes
  Magnitudes magnitudes_;
};

// Of an input that is divided by scales [K].
void divide_moments(Eigen::MatrixXf& moments, const std::vector<float>& scales);

// Sum of r^T M r over the rows r [n, K] for symmetric moments M [K, K]: the squared error of the
// output that errors of weights make, per row of the input.
double quadratic(const MomentsCollector::Rows& rows, const Eigen::MatrixXf& moments);

}  // namespace pocket
