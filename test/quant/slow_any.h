// Any precision as its definition reads: of all ways to cut a sorted row into clusters, the one of
// least weighted squared error; then, bit by bit, of all ways to cut each cluster in two, the best.
// Every error is summed anew from its members.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

namespace pocket::test {

struct SlowValue {
  double value = 0, weight = 1;
  size_t column = 0;
};
using SlowCluster = std::vector<SlowValue>;  // sorted

// At one width.
struct SlowAny {
  std::vector<int> codes;     // by column
  std::vector<double> means;  // by code
};

inline double slow_mean(const SlowCluster& members) {
  double sum = 0, weight = 0;
  for (const SlowValue& one : members) sum += one.weight * one.value, weight += one.weight;
  return sum / weight;
}

inline double slow_error(const SlowCluster& members) {
  if (members.empty()) return 0;
  const double mean = slow_mean(members);
  double sum = 0;
  for (const SlowValue& one : members) sum += one.weight * (one.value - mean) * (one.value - mean);
  return sum;
}

inline bool slow_all_equal(const SlowCluster& members) {
  return members.empty() || members.front().value == members.back().value;
}

inline SlowCluster slow_part(const SlowCluster& all, size_t begin, size_t end) {
  return {all.begin() + std::ptrdiff_t(begin), all.begin() + std::ptrdiff_t(end)};
}

// The best cut of `all` into exactly `count` clusters between values that differ, or none.
inline bool slow_seed(const SlowCluster& all, size_t count, std::vector<SlowCluster>& best) {
  const size_t n = all.size();
  // least[k][j]: the first j values in k clusters; from[k][j]: where the last of them begins
  std::vector<std::vector<double>> least(count + 1, std::vector<double>(n + 1, -1));
  std::vector<std::vector<size_t>> from(count + 1, std::vector<size_t>(n + 1, 0));
  least[0][0] = 0;
  for (size_t k = 1; k <= count; ++k) {
    for (size_t j = 1; j <= n; ++j) {
      for (size_t i = 0; i < j; ++i) {
        if (least[k - 1][i] < 0 || (i > 0 && all[i - 1].value == all[i].value)) continue;
        const double error = least[k - 1][i] + slow_error(slow_part(all, i, j));
        if (least[k][j] < 0 || error < least[k][j]) least[k][j] = error, from[k][j] = i;
      }
    }
  }
  if (least[count][n] < 0) return false;
  best.assign(count, {});
  for (size_t k = count, j = n; k > 0; --k) {
    best[k - 1] = slow_part(all, from[k][j], j);
    j = from[k][j];
  }
  return true;
}

// By width, from `least` to `most`. Where a row has fewer values than codes, the codes left over
// have the mean of the last cluster, or of the one that was not cut.
inline std::vector<SlowAny> slow_any(const std::vector<double>& values,
                                     const std::vector<double>& weights, int least, int most) {
  SlowCluster all;
  for (size_t i = 0; i < values.size(); ++i) all.push_back({values[i], weights[i], i});
  std::stable_sort(all.begin(), all.end(),
                   [](const SlowValue& a, const SlowValue& b) { return a.value < b.value; });
  std::vector<SlowCluster> clusters;
  size_t count = size_t(1) << least;
  while (!slow_seed(all, count, clusters)) --count;
  std::vector<double> means;
  for (const SlowCluster& one : clusters) means.push_back(slow_mean(one));
  clusters.resize(size_t(1) << least);
  means.resize(size_t(1) << least, means.back());

  std::vector<SlowAny> widths;
  for (int width = least; width <= most; ++width) {
    if (width > least) {
      std::vector<SlowCluster> halves;
      std::vector<double> half_means;
      for (size_t c = 0; c < clusters.size(); ++c) {
        if (slow_all_equal(clusters[c])) {
          halves.push_back(clusters[c]);
          halves.push_back({});
          half_means.insert(half_means.end(), 2, means[c]);
          continue;
        }
        std::vector<SlowCluster> two;
        slow_seed(clusters[c], 2, two);
        for (const SlowCluster& half : two) half_means.push_back(slow_mean(half));
        halves.insert(halves.end(), two.begin(), two.end());
      }
      clusters = halves;
      means = half_means;
    }
    SlowAny one;
    one.codes.resize(values.size());
    one.means = means;
    for (size_t c = 0; c < clusters.size(); ++c) {
      for (const SlowValue& member : clusters[c]) one.codes[member.column] = int(c);
    }
    widths.push_back(one);
  }
  return widths;
}

}  // namespace pocket::test
