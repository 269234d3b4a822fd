#include "runtime/bench/statistics.h"

#include <algorithm>
#include <cmath>

namespace pocket::bench {
namespace {

std::vector<double> sorted(std::span<const double> samples) {
  std::vector<double> copy(samples.begin(), samples.end());
  std::sort(copy.begin(), copy.end());
  return copy;
}

}  // namespace

double quantile(std::span<const double> samples, double p) {
  const std::vector<double> values = sorted(samples);
  const double at = p * static_cast<double>(values.size() - 1);
  const auto below = static_cast<size_t>(at);
  const size_t above = std::min(below + 1, values.size() - 1);
  const double share = at - static_cast<double>(below);
  return values[below] + share * (values[above] - values[below]);
}

double median(std::span<const double> samples) { return quantile(samples, 0.5); }

Interval median_interval(std::span<const double> samples) {
  const std::vector<double> values = sorted(samples);
  const size_t n = values.size();
  // P(the median lies below the k-th smallest) = sum of C(n, i) / 2^n over i < k. Both tails
  // together may hold 5 %; logarithms keep large n in range.
  const double log_all = static_cast<double>(n) * std::log(2.0);
  double tail = 0, log_choose = 0;
  size_t k = 0;
  while (2 * (k + 1) < n) {
    tail += std::exp(log_choose - log_all);
    if (2 * tail > 0.05) break;
    ++k;
    log_choose += std::log(static_cast<double>(n - k + 1)) - std::log(static_cast<double>(k));
  }
  const size_t low = k == 0 ? 0 : k - 1;
  return {values[low], values[n - 1 - low]};
}

const char* interval_method(size_t samples) {
  return samples < 6 ? "range" : "order_statistics_95";
}

}  // namespace pocket::bench
