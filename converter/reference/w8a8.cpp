#include "converter/reference/w8a8.h"

#include <algorithm>

#include "runtime/package/w8a8.h"

namespace pocket::reference {
namespace {

// Products of codes are at most 128 * 127, so sums of this many are exact in floats, in whatever
// order: 1024 * 128 * 127 < 2^24.
constexpr Eigen::Index kExact = 1024;
constexpr int64_t kRowsAtOnce = 256;  // of a weight

using Integers = Eigen::Matrix<int32_t, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

// Steps of a value beyond its code.
float beyond_code(float value, float inverse) {
  const float steps = w8a8_rounded(value, inverse);
  return steps - std::clamp(steps, -128.0f, 127.0f);
}

}  // namespace

W8a8Input::W8a8Input(const Eigen::Ref<const Matrix>& rows, float act_scale, bool shadow)
    : act_scale_(act_scale), codes_(rows.rows(), rows.cols()) {
  const float inverse = 1.0f / act_scale;
  std::vector<bool> leaves(static_cast<size_t>(rows.cols()));
  for (Eigen::Index row = 0; row < rows.rows(); ++row) {
    for (Eigen::Index k = 0; k < rows.cols(); ++k) {
      codes_(row, k) = static_cast<float>(w8a8_quantise(rows(row, k), inverse));
      if (shadow && beyond_code(rows(row, k), inverse) != 0.0f) leaves[static_cast<size_t>(k)] = true;
    }
  }
  for (Eigen::Index k = 0; k < rows.cols(); ++k) {
    if (leaves[static_cast<size_t>(k)]) channels_.push_back(k);
  }
  beyond_.resize(rows.rows(), static_cast<Eigen::Index>(channels_.size()));
  for (Eigen::Index row = 0; row < rows.rows(); ++row) {
    for (size_t i = 0; i < channels_.size(); ++i) {
      beyond_(row, static_cast<Eigen::Index>(i)) = beyond_code(rows(row, channels_[i]), inverse);
    }
  }
}

void W8a8Input::multiply(const Eigen::Ref<const Matrix>& codes, const float* scales,
                         Eigen::Ref<Matrix> out) const {
  Integers sums = Integers::Zero(codes_.rows(), codes.rows());
  for (Eigen::Index first = 0; first < codes.cols(); first += kExact) {
    const Eigen::Index count = std::min(kExact, codes.cols() - first);
    const Matrix part =
        codes_.middleCols(first, count) * codes.middleCols(first, count).transpose();
    sums += part.cast<int32_t>();
  }
  for (Eigen::Index row = 0; row < sums.rows(); ++row) {
    for (Eigen::Index n = 0; n < sums.cols(); ++n) {
      out(row, n) = w8a8_result(sums(row, n), act_scale_, scales[n]);
    }
  }
  if (channels_.empty()) return;
  Matrix weights(codes.rows(), beyond_.cols());
  for (size_t i = 0; i < channels_.size(); ++i) {
    weights.col(static_cast<Eigen::Index>(i)) = codes.col(channels_[i]);
  }
  const Matrix shadow = beyond_ * weights.transpose();
  for (Eigen::Index row = 0; row < sums.rows(); ++row) {
    for (Eigen::Index n = 0; n < sums.cols(); ++n) {
      out(row, n) += shadow(row, n) * (act_scale_ * scales[n]);
    }
  }
}

bool multiply_codes(const Call& call, const HostTensor& x, const WeightSource& weight,
                    size_t input, HostTensor& y) {
  const auto given = call.node.attributes.find("code_scales");
  if (given == call.node.attributes.end()) return false;
  const auto& scales = std::get<std::vector<float>>(given->second);
  int64_t first_scale = 0;  // behind those of the weights before
  const std::vector<int64_t> rows_of_inputs = call.node.integers("rows");
  for (size_t i = 3; i < input; ++i) first_scale += rows_of_inputs.at(i - 3);
  const float act_scale = call.node.real("act_scale", 0.0f);
  if (!is_act_scale(act_scale) ||
      static_cast<int64_t>(scales.size()) < first_scale + weight.rows()) {
    call.fail("lacks the scales of its codes");
  }
  const int64_t columns = weight.columns(), count = x.elements() / columns;
  const W8a8Input coded(Eigen::Map<const W8a8Input::Matrix>(x.f.data(), count, columns), act_scale,
                        call.node.integer("shadow", 0) != 0);
  Eigen::Map<W8a8Input::Matrix> out(y.f.data(), count, weight.rows());
  W8a8Input::Matrix codes, product;
  for (int64_t first = 0; first < weight.rows(); first += kRowsAtOnce) {
    const int64_t rows = std::min(kRowsAtOnce, weight.rows() - first);
    codes.resize(rows, columns);
    product.resize(count, rows);
    weight.read_rows(first, rows, codes.data());
    coded.multiply(codes, scales.data() + first_scale + first, product);
    out.middleCols(first, rows) = product;
  }
  return true;
}

}  // namespace pocket::reference
