// GPTQ as it is told, without factorisations: before each column the moments of the columns that
// are still free are inverted anew; the column is rounded; the free columns take over what it lost.
#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "test/quant/slow_twin.h"

namespace pocket::test {

using SlowMatrix = std::vector<std::vector<double>>;

// Gauss-Jordan with pivots.
inline SlowMatrix slow_inverse(SlowMatrix a) {
  const size_t n = a.size();
  SlowMatrix inverse(n, std::vector<double>(n));
  for (size_t i = 0; i < n; ++i) inverse[i][i] = 1;
  for (size_t column = 0; column < n; ++column) {
    size_t pivot = column;
    for (size_t row = column; row < n; ++row) {
      if (std::fabs(a[row][column]) > std::fabs(a[pivot][column])) pivot = row;
    }
    std::swap(a[column], a[pivot]);
    std::swap(inverse[column], inverse[pivot]);
    const double divisor = a[column][column];
    for (size_t k = 0; k < n; ++k) {
      a[column][k] /= divisor;
      inverse[column][k] /= divisor;
    }
    for (size_t row = 0; row < n; ++row) {
      const double factor = a[row][column];
      if (row == column || factor == 0) continue;
      for (size_t k = 0; k < n; ++k) {
        a[row][k] -= factor * a[column][k];
        inverse[row][k] -= factor * inverse[column][k];
      }
    }
  }
  return inverse;
}

struct SlowGptq {
  std::vector<std::vector<int>> codes;       // [rows][columns]
  std::vector<std::vector<SlowGroup>> pairs;  // [rows][groups]; only scale and second are meant
};

inline SlowGptq slow_gptq(bool m0e4, std::vector<std::vector<float>> rows, SlowMatrix moments,
                          size_t group, bool act_order, double damping = 0.01,
                          bool clip = true) {
  const size_t n = moments.size(), groups = (n + group - 1) / group;
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), size_t{0});
  if (act_order) {
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return moments[a][a] > moments[b][b]; });
  }
  double mean = 0;
  for (size_t i = 0; i < n; ++i) mean += moments[i][i] / double(n);
  for (size_t i = 0; i < n; ++i) {
    moments[i][i] = moments[i][i] == 0 ? std::max(mean, 1e-30) : moments[i][i] + damping * mean;
  }
  // First row of the inverse over the columns that are free at each step.
  SlowMatrix first_rows;
  for (size_t i = 0; i < n; ++i) {
    SlowMatrix free(n - i, std::vector<double>(n - i));
    for (size_t a = i; a < n; ++a) {
      for (size_t b = i; b < n; ++b) free[a - i][b - i] = moments[order[a]][order[b]];
    }
    first_rows.push_back(slow_inverse(free)[0]);
  }
  std::vector<double> cost(n);  // by column
  for (size_t i = 0; i < n; ++i) cost[order[i]] = 1 / first_rows[i][0];

  SlowGptq out;
  for (const std::vector<float>& original : rows) {
    std::vector<double> w(original.begin(), original.end());
    std::vector<SlowGroup> pairs(groups);
    std::vector<int> codes(n);
    // Rounds the column at a position of the order in a row, whose free columns take over; returns
    // what that costs.
    const auto round = [&](size_t i, const SlowGroup& pair, std::vector<double>& row) {
      const size_t k = order[i];
      codes[k] = slow_code(m0e4, pair, float(row[k]));
      const double lost = row[k] - double(slow_decode(m0e4, pair, codes[k]));
      for (size_t j = i + 1; j < n; ++j) {
        row[order[j]] -= lost * first_rows[i][j - i] / first_rows[i][0];
      }
      return lost * lost / first_rows[i][0];
    };
    const auto choose = [&](size_t g) {
      std::vector<float> values;
      std::vector<double> weights;
      for (size_t k = g * group; k < std::min(n, (g + 1) * group); ++k) {
        values.push_back(float(w[k]));
        weights.push_back(cost[k]);
      }
      if (!clip) {
        const auto [low, high] = std::minmax_element(values.begin(), values.end());
        pairs[g] = *slow_round(m0e4, values, *low, *high);
        return;
      }
      if (!act_order) {  // the group is about to be rounded: each pair is tried out
        double least = 0;
        for (const SlowGroup& pair : slow_candidates(m0e4, values)) {
          std::vector<double> tried = w;
          double sum = 0;
          for (size_t k = g * group; k < std::min(n, (g + 1) * group); ++k) sum += round(k, pair, tried);
          if (pairs[g].codes.empty() || sum < least) pairs[g] = pair, least = sum;
        }
        return;
      }
      pairs[g] = slow_clip(m0e4, values, [&](const std::vector<double>& d) {
        double sum = 0;
        for (size_t k = 0; k < d.size(); ++k) sum += weights[k] * d[k] * d[k];
        return sum;
      });
    };
    for (size_t g = 0; g < groups && act_order; ++g) choose(g);
    for (size_t i = 0; i < n; ++i) {
      const size_t k = order[i];
      if (!act_order && k % group == 0) choose(k / group);
      round(i, pairs[k / group], w);
    }
    out.codes.push_back(codes);
    out.pairs.push_back(pairs);
  }
  return out;
}

}  // namespace pocket::test
