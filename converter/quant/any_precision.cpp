#include "converter/quant/any_precision.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include "converter/quant/parallel.h"
#include "runtime/base/error.h"

namespace pocket {
namespace {

constexpr int64_t kTileRows = 256;  // a multiple of kBlockRows
// The exact k-means costs 2^width steps a weight: wider codes start as 4-bit clusters.
constexpr int32_t kMostSeedWidth = 4;
// What a weight without sensitivity counts, of the mean: it decides only where nothing else does.
constexpr double kLeastSensitivity = 1e-6;

// Distinct values of a row in rising order [begin, end), and their mean. An empty one keeps the
// mean of the cluster that it was cut from.
struct Cluster {
  size_t begin = 0, end = 0;
  double mean = 0.0;
};

class Row {
 public:
  Row(const float* values, std::span<const double> weights) : place_(weights.size()) {
    const size_t count = weights.size();
    std::vector<size_t> order(count);
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return values[a] < values[b]; });
    const double all = std::accumulate(weights.begin(), weights.end(), 0.0);
    for (size_t k = 0; k < count; ++k) centre_ += weights[k] / all * double{values[k]};
    sums_.push_back({});
    for (size_t i = 0; i < count; ++i) {
      const size_t k = order[i];
      const bool fresh = i == 0 || values[k] != values[order[i - 1]];
      if (fresh) sums_.push_back(sums_.back());
      const double x = double{values[k]} - centre_;  // sums of squares keep their digits
      sums_.back().weight += weights[k];
      sums_.back().first += weights[k] * x;
      sums_.back().second += weights[k] * x * x;
      place_[k] = sums_.size() - 2;
    }
  }

  size_t distinct() const { return sums_.size() - 1; }
  size_t place(size_t column) const { return place_[column]; }  // among the distinct values

  Cluster cluster(size_t begin, size_t end) const {
    const Sums s = between(begin, end);
    return {begin, end, centre_ + s.first / s.weight};
  }

  // At most `count` clusters of least squared error, the rest empty.
  std::vector<Cluster> seed(size_t count) const {
    const size_t n = distinct(), used = std::min(count, n);
    std::vector<double> error(n + 1), next(n + 1);  // of the first so many values in so many clusters
    std::vector<std::vector<uint32_t>> start(used, std::vector<uint32_t>(n + 1, 0));
    for (size_t end = 1; end <= n; ++end) error[end] = cost(0, end);
    for (size_t k = 1; k < used; ++k) {
      std::fill(next.begin(), next.end(), 0.0);
      add_cluster(error, k + 1, n, k, n - 1, next, start[k]);
      error.swap(next);
    }
    std::vector<Cluster> clusters(used);
    for (size_t k = used, end = n; k > 0; --k) {
      const size_t begin = start[k - 1][end];
      clusters[k - 1] = cluster(begin, end);
      end = begin;
    }
    clusters.resize(count, {n, n, clusters.back().mean});
    return clusters;
  }

  // The two halves of a cluster of least squared error; one value cannot be cut.
  void split(const Cluster& whole, std::vector<Cluster>& out) const {
    if (whole.end - whole.begin < 2) {
      out.push_back(whole);
      out.push_back({whole.end, whole.end, whole.mean});
      return;
    }
    size_t best = whole.begin + 1;
    double least = std::numeric_limits<double>::infinity();
    for (size_t cut = whole.begin + 1; cut < whole.end; ++cut) {
      const double error = cost(whole.begin, cut) + cost(cut, whole.end);
      if (error < least) {
        least = error;
        best = cut;
      }
    }
    out.push_back(cluster(whole.begin, best));
    out.push_back(cluster(best, whole.end));
  }

 private:
  struct Sums {
    double weight = 0.0, first = 0.0, second = 0.0;
  };

  Sums between(size_t begin, size_t end) const {
    const Sums &a = sums_[begin], &b = sums_[end];
    return {b.weight - a.weight, b.first - a.first, b.second - a.second};
  }

  // Weighted squared distance of the values [begin, end) from their mean.
  double cost(size_t begin, size_t end) const {
    const Sums s = between(begin, end);
    return std::max(0.0, s.second - s.first * s.first / s.weight);
  }

  // next[end] = min over begin in [low, high] of error[begin] + cost(begin, end), for the ends
  // [first, last]. The best begin never falls when the end grows, which halves what is searched.
  void add_cluster(const std::vector<double>& error, size_t first, size_t last, size_t low,
                   size_t high, std::vector<double>& next, std::vector<uint32_t>& start) const {
    const size_t end = first + (last - first) / 2;
    double least = std::numeric_limits<double>::infinity();
    size_t best = low;
    for (size_t begin = low; begin <= std::min(high, end - 1); ++begin) {
      const double sum = error[begin] + cost(begin, end);
      if (sum < least) {
        least = sum;
        best = begin;
      }
    }
    next[end] = least;
    start[end] = static_cast<uint32_t>(best);
    if (end > first) add_cluster(error, first, end - 1, low, best, next, start);
    if (end < last) add_cluster(error, end + 1, last, best, high, next, start);
  }

  double centre_ = 0.0;
  std::vector<Sums> sums_;     // of the distinct values before each
  std::vector<size_t> place_;  // by column
};

// Of one row, their mean 1.
std::vector<double> weights_of(std::span<const float> sensitivity, int64_t columns) {
  std::vector<double> weights(static_cast<size_t>(columns), 1.0);
  if (sensitivity.empty()) return weights;
  double mean = 0.0;
  for (const float value : sensitivity) mean += double{value};
  mean /= static_cast<double>(columns);
  if (mean <= 0.0) return weights;
  for (size_t k = 0; k < weights.size(); ++k) {
    weights[k] = std::max(double{sensitivity[k]} / mean, kLeastSensitivity);
  }
  return weights;
}

}  // namespace

AnyCodes any_precision(const WeightFormat& format, const std::string& name, const float* values,
                       std::span<const float> sensitivity) {
  const auto columns = static_cast<size_t>(format.columns);
  const bool by_row = sensitivity.size() > columns;
  std::vector<double> weights;
  const int32_t least = std::countr_zero(format.widths), most = format.width;
  AnyCodes out;
  out.codes.resize(static_cast<size_t>(format.rows * format.columns));
  for (int32_t width = least; width <= most; ++width) {
    if (format.has_width(width)) {
      out.tables.emplace_back(static_cast<size_t>(format.rows) << width);
    }
  }
  for (int64_t n = 0; n < format.rows; ++n) {
    const float* in = values + n * format.columns;
    for (int64_t k = 0; k < format.columns; ++k) {
      if (std::isfinite(in[k]) && std::isfinite(half_to_float(float_to_half(in[k])))) continue;
      throw Error(ExitCode::bad_input, "Tensor '" + name + "' holds " + std::to_string(in[k]) +
                                           ", which the fp16 tables of any precision cannot "
                                           "represent: choose another --weights.");
    }
    if (n == 0 || by_row) {
      weights = weights_of(by_row ? sensitivity.subspan(static_cast<size_t>(n) * columns, columns)
                                  : sensitivity,
                           format.columns);
    }
    const Row row(in, weights);
    const int32_t seed = std::min(least, kMostSeedWidth);
    std::vector<Cluster> clusters = row.seed(size_t{1} << seed);
    size_t table = 0;
    for (int32_t width = seed; width <= most; ++width) {
      if (width > seed) {
        std::vector<Cluster> halves;
        for (const Cluster& cluster : clusters) row.split(cluster, halves);
        clusters = std::move(halves);
      }
      if (!format.has_width(width)) continue;
      uint16_t* to = out.tables[table++].data() + (static_cast<size_t>(n) << width);
      for (const Cluster& cluster : clusters) {
        *to++ = float_to_half(static_cast<float>(cluster.mean));
      }
    }
    std::vector<uint8_t> code_at(row.distinct());
    std::vector<double> decoded(clusters.size());
    for (size_t code = 0; code < clusters.size(); ++code) {
      const auto begin = code_at.begin() + static_cast<std::ptrdiff_t>(clusters[code].begin);
      const auto end = code_at.begin() + static_cast<std::ptrdiff_t>(clusters[code].end);
      std::fill(begin, end, static_cast<uint8_t>(code));
      decoded[code] = double{half_to_float(float_to_half(static_cast<float>(clusters[code].mean)))};
    }
    for (int64_t k = 0; k < format.columns; ++k) {
      const uint8_t code = code_at[row.place(static_cast<size_t>(k))];
      out.codes[static_cast<size_t>(n * format.columns + k)] = code;
      const double lost = double{in[k]} - decoded[code];
      out.error.squared_error += lost * lost;
      out.error.squared_norm += double{in[k]} * double{in[k]};
    }
  }
  return out;
}

QuantError encode_any(
    const std::string& name, const WeightFormat& format,
    const std::function<void(int64_t first, int64_t count, float* out)>& read_rows,
    std::span<const float> sensitivity, const KindSink& sink, int threads,
    const std::function<void(int64_t first, int64_t count, float* out)>& read_sensitivity) {
  check_format(format, name);
  QuantError sum;
  const int64_t batch = kTileRows * std::max(threads, 1);
  for (int64_t next = 0; next < format.rows; next += batch) {
    const int64_t rows = std::min(batch, format.rows - next);
    const int64_t tiles = (rows + kTileRows - 1) / kTileRows;
    std::vector<AnyCodes> done(static_cast<size_t>(tiles));
    const auto part_of = [&](int64_t tile) {
      WeightFormat part = format;
      part.rows = std::min(kTileRows, rows - tile * kTileRows);
      return part;
    };
    parallel_for(tiles, threads, [&](int64_t tile) {
      const WeightFormat part = part_of(tile);
      std::vector<float> values(static_cast<size_t>(part.rows * part.columns));
      read_rows(next + tile * kTileRows, part.rows, values.data());
      std::vector<float> own;  // of each weight
      if (read_sensitivity) {
        own.resize(values.size());
        read_sensitivity(next + tile * kTileRows, part.rows, own.data());
      }
      done[static_cast<size_t>(tile)] = any_precision(
          part, name, values.data(), read_sensitivity ? std::span<const float>(own) : sensitivity);
    });
    for (int64_t tile = 0; tile < tiles; ++tile) {
      const AnyCodes& made = done[static_cast<size_t>(tile)];
      size_t table = 0;
      for (const SectionKind kind : format.section_kinds()) {
        if (kind.role == SectionRole::plane) {
          sink(kind, pack_plane(part_of(tile), made.codes.data(), kind.bits));
          continue;
        }
        const std::vector<uint16_t>& values = made.tables[table++];
        sink(kind, {reinterpret_cast<const uint8_t*>(values.data()), 2 * values.size()});
      }
      sum.add(made.error);
    }
  }
  return sum;
}

}  // namespace pocket
