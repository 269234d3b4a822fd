#include "converter/quant/awq_gptq.h"

#include <algorithm>
#include <numeric>

#include "converter/quant/moments.h"
#include "converter/quant/parallel.h"

namespace pocket {
namespace {

constexpr int64_t kTileRows = 64;

using Rows = AwqProblem::Rows;

// What GPTQ makes of the rows: their decoded values.
Rows rounded(const WeightFormat& whole, const std::string& name, const GptqFactor& factor,
             const Rows& rows, int threads) {
  Rows out(rows.rows(), rows.cols());
  parallel_for((whole.rows + kTileRows - 1) / kTileRows, threads, [&](int64_t tile) {
    WeightFormat format = whole;
    const int64_t first = tile * kTileRows;
    format.rows = std::min(kTileRows, whole.rows - first);
    std::vector<uint8_t> codes(static_cast<size_t>(format.rows * format.padded_columns()));
    std::vector<uint32_t> pairs(static_cast<size_t>(format.rows * format.groups()));
    gptq(format, name, factor, rows.row(first).data(), codes.data(), pairs.data());
    for (int64_t row = 0; row < format.rows; ++row) {
      for (int64_t group = 0; group < filled_groups(format); ++group) {
        float levels[16];
        decode_levels(format.encoding, pairs[static_cast<size_t>(row * format.groups() + group)],
                      levels);
        const int64_t end = std::min((group + 1) * format.group, format.columns);
        for (int64_t k = group * format.group; k < end; ++k) {
          out(first + row, k) = levels[codes[static_cast<size_t>(row * format.padded_columns() + k)]];
        }
      }
    }
  });
  return out;
}

}  // namespace

double loss_behind_gptq(Encoding encoding, int64_t group, const std::string& name,
                        const Rows& rows, const std::vector<float>& scales,
                        const Eigen::MatrixXf& seen, const Eigen::MatrixXf& judge,
                        const GptqOptions& options) {
  WeightFormat format;
  format.encoding = encoding;
  format.group = group;
  format.rows = rows.rows();
  format.columns = rows.cols();
  const Eigen::Map<const Eigen::RowVectorXf> s(scales.data(),
                                               static_cast<Eigen::Index>(scales.size()));
  const Rows scaled = rows * s.asDiagonal();
  Eigen::MatrixXf scaled_seen = seen;
  divide_moments(scaled_seen, scales);
  const GptqFactor factor(name, scaled_seen, options);
  // Back in the columns of the model, so that one judge serves every choice of scales.
  const Rows lost = (rounded(format, name, factor, scaled, options.threads) - scaled) *
                    s.cwiseInverse().asDiagonal();
  return std::max(quadratic(lost, judge), 0.0);
}

}  // namespace pocket
