#include "converter/quant/moments.h"

#include <algorithm>
#include <cmath>

#include "converter/quant/parallel.h"
#include "runtime/base/error.h"

namespace pocket {
namespace {

constexpr int64_t kBlock = 256;  // columns of a product

// In place: these matrices are the most memory that calibration takes.
Eigen::MatrixXf symmetric_mean(Eigen::MatrixXf lower, int64_t rows) {
  lower /= static_cast<float>(rows);
  constexpr Eigen::Index kTile = 64;  // both of a pair of tiles stay in cache
  const Eigen::Index size = lower.rows();
  for (Eigen::Index j = 0; j < size; j += kTile) {
    for (Eigen::Index i = j; i < size; i += kTile) {
      const Eigen::MatrixXf tile =
          lower.block(i, j, std::min(kTile, size - i), std::min(kTile, size - j)).transpose();
      if (i > j)
        lower.block(j, i, tile.rows(), tile.cols()) = tile;
      else
        lower.block(j, i, tile.rows(), tile.cols()).triangularView<Eigen::StrictlyUpper>() = tile;
    }
  }
  return lower;
}

}  // namespace

MomentsCollector::MomentsCollector(std::string name, int64_t columns)
    : name_(name),
      columns_(columns),
      sums_(static_cast<size_t>(columns)),
      magnitudes_(std::move(name)) {}

void MomentsCollector::add(const Eigen::Ref<const Rows>& rows, bool held_out, int threads) {
  magnitudes_.add(rows);
  for (Eigen::Index row = 0; row < rows.rows() && !held_out; ++row) {
    for (Eigen::Index k = 0; k < columns_; ++k) {
      sums_[static_cast<size_t>(k)] += double{std::fabs(rows(row, k))};
    }
  }
  Sum& sum = held_out ? held_out_ : used_;
  if (sum.moments.size() == 0) sum.moments = Eigen::MatrixXf::Zero(columns_, columns_);
  sum.rows += rows.rows();
  // Each element is summed in the order of the rows by one thread, so threads change no bit.
  parallel_for((columns_ + kBlock - 1) / kBlock, threads, [&](int64_t block) {
    const Eigen::Index first = block * kBlock, rest = columns_ - first;
    const Eigen::Index width = std::min<Eigen::Index>(kBlock, rest);
    sum.moments.block(first, first, rest, width).noalias() +=
        rows.rightCols(rest).transpose() * rows.middleCols(first, width);
  });
}

InputStatistics MomentsCollector::finish() {
  if (used_.rows == 0) {
    throw Error(ExitCode::bad_input, "Calibration brings no row to the input of '" + name_ +
                                         "': give a longer text.");
  }
  InputStatistics out;
  out.rows = used_.rows;
  out.held_out_rows = held_out_.rows;
  out.second = symmetric_mean(std::move(used_.moments), used_.rows);
  if (held_out_.rows > 0) {
    out.held_out_second = symmetric_mean(std::move(held_out_.moments), held_out_.rows);
  }
  for (const double sum : sums_) {
    out.mean_magnitude.push_back(static_cast<float>(sum / static_cast<double>(used_.rows)));
  }
  out.most = magnitudes_.most();
  out.percentile_999 = magnitudes_.percentile_999();
  return out;
}

void divide_moments(Eigen::MatrixXf& moments, const std::vector<float>& scales) {
  if (moments.size() == 0) return;
  const Eigen::Map<const Eigen::VectorXf> s(scales.data(), static_cast<Eigen::Index>(scales.size()));
  const Eigen::VectorXf inverse = s.cwiseInverse();
  moments = inverse.asDiagonal() * moments * inverse.asDiagonal();
}

// Twice the lower triangle, and the diagonal once.
double quadratic(const MomentsCollector::Rows& rows, const Eigen::MatrixXf& moments) {
  const MomentsCollector::Rows product = rows * moments.triangularView<Eigen::Lower>();
  const Eigen::VectorXd squares = rows.colwise().squaredNorm().transpose().cast<double>();
  return 2.0 * product.cwiseProduct(rows).cast<double>().sum() -
         squares.dot(moments.diagonal().cast<double>());
}

}  // namespace pocket
