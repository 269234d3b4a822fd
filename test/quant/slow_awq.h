// AWQ's search for scales as it is told: for each ratio scale, round, unscale, and measure the
// error of the output pair of columns by pair of columns.
#pragma once

#include <cmath>
#include <vector>

#include "test/quant/slow_twin.h"

namespace pocket::test {

struct SlowScales {
  double ratio = 0, loss = 0;
  std::vector<float> scales;
};

// sources[k]: the scale of column k; magnitudes and moments by column.
inline SlowScales slow_awq(bool m0e4, size_t group, const std::vector<std::vector<float>>& rows,
                           const std::vector<std::vector<double>>& moments,
                           const std::vector<float>& magnitudes, const std::vector<size_t>& sources,
                           size_t scale_count) {
  SlowScales best;
  for (int step = 0; step < 20; ++step) {
    const double ratio = step / 20.0;
    std::vector<float> scales;
    float least = 1e30f, most = 0;
    for (size_t s = 0; s < scale_count; ++s) {
      double sum = 0, count = 0;
      for (size_t k = 0; k < sources.size(); ++k) {
        if (sources[k] != s) continue;
        sum += double(magnitudes[k]);
        count += 1;
      }
      const float magnitude = std::fmax(float(sum / count), 1e-4f);
      scales.push_back(float(std::pow(double(magnitude), ratio)));
      least = std::fmin(least, scales.back());
      most = std::fmax(most, scales.back());
    }
    const float middle = std::sqrt(least * most);
    for (float& scale : scales) scale = step == 0 ? 1.0f : scale / middle;
    double loss = 0;
    for (const std::vector<float>& row : rows) {
      std::vector<double> d(row.size());
      for (size_t first = 0; first < row.size(); first += group) {
        const size_t last = std::min(first + group, row.size());
        std::vector<float> scaled;
        float low = 1e30f, high = -1e30f;
        for (size_t k = first; k < last; ++k) {
          scaled.push_back(row[k] * scales[sources[k]]);
          low = std::fmin(low, scaled.back());
          high = std::fmax(high, scaled.back());
        }
        const auto rounded = slow_round(m0e4, scaled, low, high);
        for (size_t k = first; k < last; ++k) {
          const float value = slow_decode(m0e4, *rounded, rounded->codes[k - first]);
          d[k] = double(value) / double(scales[sources[k]]) - double(row[k]);
        }
      }
      for (size_t a = 0; a < d.size(); ++a) {
        for (size_t b = 0; b < d.size(); ++b) loss += d[a] * moments[a][b] * d[b];
      }
    }
    if (step == 0 || loss < best.loss) best = {ratio, loss, scales};
  }
  return best;
}

}  // namespace pocket::test
