// The largest and the 99.9th percentile of the magnitudes of many rows, in one pass.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <string>
#include <vector>

namespace pocket {

class Magnitudes {
 public:
  using Rows = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

  // `name` of the linear that an Error names.
  explicit Magnitudes(std::string name);
  // Throws Error(bad_input) when a value is not finite.
  void add(const Eigen::Ref<const Rows>& rows);

  float most() const { return most_; }
  // The smallest magnitude that at least 99.9 % of all do not exceed, rounded up by at most 2^-11
  // of itself; 0 before the first row.
  float percentile_999() const;

 private:
  std::string name_;
  float most_ = 0.0f;
  uint64_t count_ = 0;
  std::vector<uint64_t> histogram_;  // by the upper bits of the magnitude
};

}  // namespace pocket
