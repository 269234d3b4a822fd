#include "converter/quant/gptq.h"

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>
#include <numeric>

#include "converter/quant/parallel.h"
#include "converter/quant/rtn.h"
#include "runtime/base/error.h"

namespace pocket {
namespace {

using Matrix = GptqFactor::Matrix;
using Row = Eigen::Map<Eigen::RowVectorXd>;

constexpr int64_t kBlock = 128;  // columns whose feedback to the rest is applied in one product
constexpr double kMostDamping = 10.0;

std::vector<int64_t> column_order(const Eigen::MatrixXf& moments, bool act_order) {
  std::vector<int64_t> order(static_cast<size_t>(moments.rows()));
  std::iota(order.begin(), order.end(), 0);
  if (act_order) {
    std::stable_sort(order.begin(), order.end(),
                     [&](int64_t a, int64_t b) { return moments(a, a) > moments(b, b); });
  }
  return order;
}

// Calls work(first, count) for the tiles of [begin, end).
template <typename Work>
void for_tiles(Eigen::Index begin, Eigen::Index end, int threads, const Work& work) {
  parallel_for((end - begin + kBlock - 1) / kBlock, threads, [&](int64_t tile) {
    const Eigen::Index first = begin + tile * kBlock;
    work(first, std::min<Eigen::Index>(kBlock, end - first));
  });
}

// The lower triangle of a symmetric matrix becomes L with L L^T = the matrix; false when it is not
// positive definite. Above the diagonal nothing is read.
bool cholesky(Eigen::MatrixXd& matrix, int threads) {
  const Eigen::Index size = matrix.rows();
  for (Eigen::Index first = 0; first < size; first += kBlock) {
    const Eigen::Index width = std::min<Eigen::Index>(kBlock, size - first), rest = first + width;
    auto corner = matrix.block(first, first, width, width);
    const Eigen::LLT<Eigen::Ref<Eigen::MatrixXd>> factor(corner);
    if (factor.info() != Eigen::Success) return false;
    for_tiles(rest, size, threads, [&](Eigen::Index row, Eigen::Index count) {
      auto below = matrix.block(row, first, count, width);
      corner.triangularView<Eigen::Lower>().transpose().solveInPlace<Eigen::OnTheRight>(below);
    });
    for_tiles(rest, size, threads, [&](Eigen::Index column, Eigen::Index count) {
      const auto own = matrix.block(column, first, count, width).transpose();
      const Eigen::Index under = column + count;
      matrix.block(column, column, count, count).triangularView<Eigen::Lower>() -=
          own.transpose() * own;
      matrix.block(under, column, size - under, count).noalias() -=
          matrix.block(under, first, size - under, width) * own;
    });
  }
  return matrix.diagonal().allFinite();
}

// The inverse of a lower triangular matrix, lower triangular too.
Matrix inverse_of_lower(const Eigen::MatrixXd& lower, int threads) {
  const Eigen::Index size = lower.rows();
  Matrix inverse = Matrix::Zero(size, size);
  for_tiles(0, size, threads, [&](Eigen::Index first, Eigen::Index width) {
    const Eigen::Index rest = size - first;
    Eigen::MatrixXd part = Eigen::MatrixXd::Identity(rest, width);
    lower.bottomRightCorner(rest, rest).triangularView<Eigen::Lower>().solveInPlace(part);
    inverse.block(first, first, rest, width) = part;
  });
  return inverse;
}

// The pair of `count` values whose squared errors cost `weights`.
void choose_pair(const WeightFormat& format, const std::string& name, bool clip,
                 const float* values, int64_t count, const double* weights, uint32_t* pair) {
  uint8_t unused[kMaxGroup];
  // The search also says what is wrong with a group that has no plain range.
  const auto finite = [](float value) { return std::isfinite(value); };
  if (!clip && std::all_of(values, values + count, finite) &&
      round_group(format.encoding, values, count, unused, pair)) {
    return;
  }
  clip_search(format.encoding, name, values, count, {weights, nullptr, 0}, unused, pair);
}

}  // namespace

GptqFactor::GptqFactor(const std::string& name, const Eigen::MatrixXf& moments,
                       const GptqOptions& options)
    : order_(column_order(moments, options.act_order)),
      act_order_(options.act_order),
      clip_(options.clip),
      damping_(options.damping) {
  if (!moments.allFinite()) {
    throw Error(ExitCode::bad_input, "The second moments of the input of '" + name +
                                         "' are not finite: calibrate on another text.");
  }
  const Eigen::Index size = moments.rows();
  const double mean = moments.diagonal().cast<double>().mean();
  // With rows and columns reversed, H = L L^T; reversed back, H = M M^T with M upper triangular, so
  // that H^-1 = U^T U with U = M^-1.
  Eigen::MatrixXd lower(size, size);
  for (;; damping_ *= 10.0) {
    for (Eigen::Index j = 0; j < size; ++j) {
      for (Eigen::Index i = j; i < size; ++i) {
        lower(i, j) = double{moments(order_[static_cast<size_t>(size - 1 - i)],
                                     order_[static_cast<size_t>(size - 1 - j)])};
      }
      lower(j, j) = lower(j, j) == 0.0 ? std::max(mean, 1e-30) : lower(j, j) + damping_ * mean;
    }
    if (cholesky(lower, options.threads)) break;
    if (damping_ >= kMostDamping) {
      throw Error(ExitCode::bad_input,
                  "The second moments of the input of '" + name +
                      "' are not positive definite even with a damping of " +
                      std::to_string(damping_) + " of their mean: calibrate on another text.");
    }
  }
  upper_ = inverse_of_lower(lower, options.threads);
  std::reverse(upper_.data(), upper_.data() + upper_.size());  // rows and columns
  for (Eigen::Index i = 0; i < size; ++i) weights_.push_back(1.0 / (upper_(i, i) * upper_(i, i)));
}

QuantError gptq(const WeightFormat& format, const std::string& name, const GptqFactor& factor,
                const float* values, uint8_t* codes, uint32_t* pairs) {
  const int64_t columns = format.columns, padded = format.padded_columns();
  const int64_t groups = format.groups(), group = format.group;
  const Matrix& upper = factor.upper();
  const std::vector<int64_t>& order = factor.order();
  clear_codes(format, codes, pairs);
  Matrix work(format.rows, columns);  // columns in their order
  for (int64_t row = 0; row < format.rows; ++row) {
    const float* in = values + row * columns;
    for (int64_t i = 0; i < columns; ++i) work(row, i) = double{in[order[static_cast<size_t>(i)]]};
    if (!factor.act_order()) continue;
    std::vector<double> weights(static_cast<size_t>(columns));  // by column
    for (size_t i = 0; i < order.size(); ++i) {
      weights[static_cast<size_t>(order[i])] = factor.weights()[i];
    }
    for (int64_t g = 0; g < filled_groups(format); ++g) {
      const int64_t first = g * group;
      choose_pair(format, name, factor.clip(), in + first, std::min(group, columns - first),
                  weights.data() + first, pairs + row * groups + g);
    }
  }
  // A block ends where a group ends, so that a group's pair is chosen on up-to-date values.
  const int64_t block = factor.act_order() ? kBlock : std::max(group, kBlock / group * group);
  std::vector<float> current(static_cast<size_t>(group));
  Matrix losses(format.rows, std::min(block, columns));
  for (int64_t first = 0; first < columns; first += block) {
    const int64_t last = std::min(first + block, columns);
    for (int64_t row = 0; row < format.rows; ++row) {
      double* x = work.data() + row * columns;
      float levels[16];
      for (int64_t i = first; i < last; ++i) {
        const int64_t column = order[static_cast<size_t>(i)], g = column / group;
        uint32_t* pair = pairs + row * groups + g;
        if (!factor.act_order() && i % group == 0) {
          const int64_t count = std::min(group, columns - i);
          for (int64_t k = 0; k < count; ++k) {
            current[static_cast<size_t>(k)] = static_cast<float>(x[i + k]);
          }
          choose_pair(format, name, factor.clip(), current.data(), count,
                      factor.weights().data() + i, pair);
        }
        const uint8_t code = nearest_code(format.encoding, static_cast<float>(x[i]), *pair);
        codes[row * padded + column] = code;
        if (factor.act_order() || i % group == 0) decode_levels(format.encoding, *pair, levels);
        const double loss = (x[i] - double{levels[code]}) / upper(i, i);
        losses(row, i - first) = loss;
        Row(x + i + 1, last - i - 1) -= loss * upper.row(i).segment(i + 1, last - i - 1);
      }
    }
    if (last == columns) break;
    work.rightCols(columns - last).noalias() -=
        losses.leftCols(last - first) * upper.block(first, last, last - first, columns - last);
  }
  return error_of_codes(format, values, codes, pairs);
}

}  // namespace pocket
