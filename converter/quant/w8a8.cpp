#include "converter/quant/w8a8.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "converter/quant/parallel.h"
#include "runtime/base/error.h"
#include "runtime/package/w8a8.h"

namespace pocket {
namespace {

constexpr int64_t kTileRows = 256;
constexpr float kMostCode = kMostW8a8Code;
constexpr float kLeastRange = 1e-5f;  // of the published exporter: a tensor of zeros has a scale
constexpr double kHotShare = 0.8;     // of the outliers

// The constant that a part lies in: parts of one are rows of one linear of the model.
const void* linear_of(const WeightPart& part) {
  return part.data.quantised != nullptr ? static_cast<const void*>(part.data.quantised.get())
                                        : part.data.bytes;
}

// Calls work(first, count, values) for tiles of rows, on several threads.
template <typename Work>
void for_each_tile(const WeightSource& source, int threads, const Work& work) {
  parallel_for((source.rows() + kTileRows - 1) / kTileRows, threads, [&](int64_t tile) {
    const int64_t first = tile * kTileRows, count = std::min(kTileRows, source.rows() - first);
    std::vector<float> values(static_cast<size_t>(count * source.columns()));
    source.read_rows(first, count, values.data());
    work(first, count, values.data());
  });
}

std::vector<float> largest_of_rows(const std::string& name, const WeightSource& source,
                                   int threads) {
  std::vector<float> largest(static_cast<size_t>(source.rows()));
  for_each_tile(source, threads, [&](int64_t first, int64_t count, const float* values) {
    for (int64_t row = 0; row < count; ++row) {
      float& most = largest[static_cast<size_t>(first + row)];
      for (int64_t k = 0; k < source.columns(); ++k) {
        const float value = values[row * source.columns() + k];
        if (!std::isfinite(value)) {
          throw Error(ExitCode::bad_input, "Tensor '" + name +
                                               "' holds a value that is no finite number, so it "
                                               "cannot be quantised: export the model again.");
        }
        most = std::max(most, std::fabs(value));
      }
    }
  });
  return largest;
}

}  // namespace

ActivationScale activation_scale(float most, float percentile_999, float clip_threshold) {
  ActivationScale out;
  out.outliers = !(percentile_999 * clip_threshold > most) && percentile_999 < most;
  out.step = std::max(out.outliers ? percentile_999 : most, kLeastRange) / kMostCode;
  return out;
}

double OutlierStatistics::saturation() const {
  return rows == 0 ? 0.0 : static_cast<double>(outliers) / static_cast<double>(rows * columns);
}

OutlierCounter::OutlierCounter(int64_t columns, float step)
    : step_(step), counts_(static_cast<size_t>(columns)) {}

void OutlierCounter::add(const Eigen::Ref<const Rows>& rows) {
  const float inverse = 1.0f / step_;
  for (Eigen::Index row = 0; row < rows.rows(); ++row) {
    for (Eigen::Index k = 0; k < rows.cols(); ++k) {
      const float steps = w8a8_rounded(rows(row, k), inverse);
      counts_[static_cast<size_t>(k)] += steps > 127.0f || steps < -128.0f;
    }
  }
  rows_ += rows.rows();
}

OutlierStatistics OutlierCounter::finish() const {
  OutlierStatistics out;
  out.rows = rows_;
  out.columns = static_cast<int64_t>(counts_.size());
  out.outliers = std::accumulate(counts_.begin(), counts_.end(), int64_t{0});
  std::vector<int32_t> order(counts_.size());
  std::iota(order.begin(), order.end(), 0);
  const auto count_of = [&](int32_t k) { return counts_[static_cast<size_t>(k)]; };
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t a, int32_t b) { return count_of(a) > count_of(b); });
  int64_t covered = 0;
  for (const int32_t k : order) {
    if (count_of(k) == 0) break;
    ++out.channels;
    if (static_cast<double>(covered) >= kHotShare * static_cast<double>(out.outliers)) continue;
    covered += count_of(k);
    out.hot_channels.push_back(k);
  }
  std::sort(out.hot_channels.begin(), out.hot_channels.end());
  for (const int32_t k : out.hot_channels) {
    out.frequencies.push_back(static_cast<double>(count_of(k)) / static_cast<double>(rows_));
  }
  if (out.outliers > 0) {
    out.hit_rate = static_cast<double>(covered) / static_cast<double>(out.outliers);
  }
  return out;
}

W8a8Codes w8a8_codes(const std::string& name, const WeightSource& source, bool per_channel,
                     int threads) {
  W8a8Codes out;
  out.scales = largest_of_rows(name, source, threads);
  if (!per_channel) {
    std::map<const void*, float> largest;
    const auto each = [&](auto visit) {
      int64_t row = 0;
      for (const WeightPart& part : source.parts()) {
        for (int64_t i = 0; i < part.rows; ++i, ++row) {
          visit(largest[linear_of(part)], out.scales[static_cast<size_t>(row)]);
        }
      }
    };
    each([](float& most, float own) { most = std::max(most, own); });
    each([](float most, float& own) { own = most; });
  }
  for (float& scale : out.scales) scale = std::max(scale, kLeastRange) / kMostCode;
  const int64_t columns = source.columns();
  out.codes.resize(static_cast<size_t>(source.rows() * columns));
  std::vector<QuantError> errors(static_cast<size_t>((source.rows() + kTileRows - 1) / kTileRows));
  for_each_tile(source, threads, [&](int64_t first, int64_t count, const float* values) {
    QuantError& error = errors[static_cast<size_t>(first / kTileRows)];
    for (int64_t i = 0; i < count * columns; ++i) {
      const float scale = out.scales[static_cast<size_t>(first + i / columns)];
      const float code = std::clamp(std::nearbyint(values[i] / scale), -kMostCode, kMostCode);
      out.codes[static_cast<size_t>(first * columns + i)] = static_cast<int8_t>(code);
      const double lost = double{values[i]} - double{code * scale};
      error.squared_error += lost * lost;
      error.squared_norm += double{values[i]} * double{values[i]};
    }
  });
  for (const QuantError& error : errors) out.error.add(error);
  return out;
}

}  // namespace pocket
