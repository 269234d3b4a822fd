#include "converter/quant/moments.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "converter/quant/parallel.h"
#include "runtime/base/error.h"

namespace pocket {
namespace {

constexpr int64_t kBlock = 256;        // columns of a product
constexpr int kDroppedBits = 12;       // of the 23 fraction bits: a bin is 2^-11 of its values wide
constexpr size_t kBins = size_t{1} << (31 - kDroppedBits);

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
    : name_(std::move(name)),
      columns_(columns),
      magnitudes_(static_cast<size_t>(columns)),
      histogram_(kBins) {}

void MomentsCollector::add(const Eigen::Ref<const Rows>& rows, bool held_out, int threads) {
  for (Eigen::Index row = 0; row < rows.rows(); ++row) {
    for (Eigen::Index k = 0; k < columns_; ++k) {
      const float magnitude = std::fabs(rows(row, k));
      if (!std::isfinite(magnitude)) {
        throw Error(ExitCode::bad_input,
                    "Calibration reaches the input of '" + name_ + "' with " +
                        std::to_string(rows(row, k)) +
                        ", no finite number: the model overflows on this text or its weights are "
                        "damaged, export it again.");
      }
      most_ = std::max(most_, magnitude);
      ++histogram_[std::bit_cast<uint32_t>(magnitude) >> kDroppedBits];
      if (!held_out) magnitudes_[static_cast<size_t>(k)] += double{magnitude};
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
  for (const double sum : magnitudes_) {
    out.mean_magnitude.push_back(static_cast<float>(sum / static_cast<double>(used_.rows)));
  }
  out.most = most_;
  const auto all = static_cast<double>((used_.rows + held_out_.rows) * columns_);
  uint64_t seen = 0;
  size_t bin = 0;
  for (; bin + 1 < kBins; ++bin) {
    seen += histogram_[bin];
    if (static_cast<double>(seen) >= 0.999 * all) break;
  }
  const auto upper = static_cast<uint32_t>(((bin + 1) << kDroppedBits) - 1);
  out.percentile_999 = std::min(std::bit_cast<float>(upper), most_);
  return out;
}

}  // namespace pocket
