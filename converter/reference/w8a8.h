// The products of w8a8 weights (runtime/package/w8a8.h) as the runtime computes them: activations
// become codes under one static scale, and the sums are those of integers. On demand what the codes
// cut off is added, the shadow path of papers.md 2.4.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <vector>

#include "converter/lower/weight_source.h"
#include "converter/reference/registry.h"

namespace pocket::reference {

class W8a8Input {
 public:
  using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

  // `rows` [count, columns]. `shadow` keeps what lies beyond the codes.
  W8a8Input(const Eigen::Ref<const Matrix>& rows, float act_scale, bool shadow);

  // out [count, n]: float(sum of codes times codes) * (act_scale * scale of the row), plus the
  // shadow. `codes` [n, columns] are integers from -127 to 127, `scales` [n].
  void multiply(const Eigen::Ref<const Matrix>& codes, const float* scales,
                Eigen::Ref<Matrix> out) const;
  bool has_shadow() const { return !channels_.empty(); }

 private:
  float act_scale_;
  Matrix codes_;                        // [count, columns], -128 to 127
  std::vector<Eigen::Index> channels_;  // that some row leaves the codes in
  Matrix beyond_;                       // [count, channels], in steps
};

// y = the product of rows x with a weight of codes, which is made of inputs from `input` on; false,
// and y as it was, where the node's weights are plain numbers.
bool multiply_codes(const Call&, const HostTensor& x, const WeightSource&, size_t input,
                    HostTensor& y);

}  // namespace pocket::reference
