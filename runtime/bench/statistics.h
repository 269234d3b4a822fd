// Medians and their uncertainty.
#pragma once

#include <span>
#include <vector>

namespace pocket::bench {

// Linear interpolation between order statistics; p in [0, 1]. `samples` must not be empty.
double quantile(std::span<const double> samples, double p);
double median(std::span<const double> samples);

struct Interval {
  double low = 0, high = 0;
};

// Distribution-free interval of the median from order statistics: the narrowest symmetric pair
// whose coverage is at least 95 % by the binomial distribution. With fewer than 6 samples no pair
// reaches that, and the range of the samples is returned (coverage 1 - 2^(1-n): 94 % for 5).
Interval median_interval(std::span<const double> samples);

// "order_statistics_95", or "range" where there are too few samples for that.
const char* interval_method(size_t samples);

}  // namespace pocket::bench
