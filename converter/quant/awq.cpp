#include "converter/quant/awq.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "converter/quant/parallel.h"
#include "converter/quant/rtn.h"

namespace pocket {
namespace {

constexpr int64_t kRatios = 20;
constexpr float kLeastMagnitude = 1e-4f;

// Inputs that share a scale count with their mean.
std::vector<float> magnitudes_of_scales(const AwqProblem& problem) {
  std::vector<double> sums(static_cast<size_t>(problem.scales));
  std::vector<int64_t> counts(sums.size());
  for (size_t k = 0; k < problem.sources.size(); ++k) {
    const auto source = static_cast<size_t>(problem.sources[k]);
    sums[source] += double{problem.magnitudes[k]};
    ++counts[source];
  }
  std::vector<float> means;
  for (size_t i = 0; i < sums.size(); ++i) {
    const double mean = counts[i] > 0 ? sums[i] / static_cast<double>(counts[i]) : 0.0;
    means.push_back(std::max(static_cast<float>(mean), kLeastMagnitude));
  }
  return means;
}

std::vector<float> scales_for(const std::vector<float>& magnitudes, double ratio) {
  std::vector<float> scales(magnitudes.size(), 1.0f);
  if (ratio == 0.0) return scales;
  float low = std::numeric_limits<float>::max(), high = 0.0f;
  for (size_t i = 0; i < scales.size(); ++i) {
    scales[i] = static_cast<float>(std::pow(double{magnitudes[i]}, ratio));
    low = std::min(low, scales[i]);
    high = std::max(high, scales[i]);
  }
  const float middle = std::sqrt(low * high);
  for (float& scale : scales) scale /= middle;
  return scales;
}

// Squared error of the output when the scaled rows are rounded; infinite when fp16 is left.
double loss_of(const AwqProblem& problem, const std::vector<float>& scales) {
  const Eigen::Index rows = problem.rows.rows(), columns = problem.rows.cols();
  AwqProblem::Rows difference(rows, columns);
  float scaled[kMaxGroup], levels[16];
  uint8_t codes[kMaxGroup];
  for (Eigen::Index row = 0; row < rows; ++row) {
    for (int64_t first = 0; first < columns; first += problem.group) {
      const int64_t count = std::min<int64_t>(problem.group, columns - first);
      const auto scale = [&](int64_t i) {
        return scales[static_cast<size_t>(problem.sources[static_cast<size_t>(first + i)])];
      };
      for (int64_t i = 0; i < count; ++i) scaled[i] = problem.rows(row, first + i) * scale(i);
      uint32_t pair = 0;
      if (!round_group(problem.encoding, scaled, count, codes, &pair)) {
        return std::numeric_limits<double>::infinity();
      }
      decode_levels(problem.encoding, pair, levels);
      for (int64_t i = 0; i < count; ++i) {
        difference(row, first + i) = levels[codes[i]] / scale(i) - problem.rows(row, first + i);
      }
    }
  }
  const AwqProblem::Rows product = difference * *problem.moments;
  return product.cwiseProduct(difference).cast<double>().sum();
}

}  // namespace

AwqScales awq_search(const AwqProblem& problem, int threads) {
  const std::vector<float> magnitudes = magnitudes_of_scales(problem);
  const auto ratio_of = [](int64_t i) {
    return static_cast<double>(i) / static_cast<double>(kRatios);
  };
  std::vector<double> losses(kRatios);
  parallel_for(kRatios, threads, [&](int64_t i) {
    losses[static_cast<size_t>(i)] = loss_of(problem, scales_for(magnitudes, ratio_of(i)));
  });
  const auto best = std::min_element(losses.begin(), losses.end());
  AwqScales found;
  found.ratio = ratio_of(best - losses.begin());
  found.scales = scales_for(magnitudes, found.ratio);
  found.loss = *best;
  found.unscaled_loss = losses.front();
  return found;
}

QuantError awq_clip(const WeightFormat& format, const std::string& name,
                    const Eigen::MatrixXf& moments, const float* values, uint8_t* codes,
                    uint32_t* pairs) {
  const int64_t padded = format.padded_columns();
  clear_codes(format, codes, pairs);
  for (int64_t row = 0; row < format.rows; ++row) {
    for (int64_t group = 0; group < filled_groups(format); ++group) {
      const int64_t first = group * format.group;
      const GroupMetric metric{nullptr, moments.data() + first * format.columns + first,
                               format.columns};
      clip_search(format.encoding, name, values + row * format.columns + first,
                  std::min(format.group, format.columns - first), metric,
                  codes + row * padded + first, pairs + row * format.groups() + group);
    }
  }
  return error_of_codes(format, values, codes, pairs);
}

}  // namespace pocket
