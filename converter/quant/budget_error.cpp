#include "converter/quant/budget_error.h"

#include <algorithm>

#include "converter/quant/measure_sites.h"
#include "converter/quant/parallel.h"
#include "converter/quant/rtn.h"

namespace pocket {
namespace {

using Rows = MomentsCollector::Rows;

constexpr int64_t kTileRows = 128;

// The numbers that a tile's codes stand for.
Rows rounded(const WeightFormat& format, const std::string& name, const Rows& values) {
  Rows out(values.rows(), values.cols());
  if (!format.four_bit()) {
    for (Eigen::Index i = 0; i < values.size(); ++i) {
      out.data()[i] = half_to_float(float_to_half(values.data()[i]));
    }
    return out;
  }
  WeightFormat tile = format;
  tile.rows = values.rows();
  std::vector<uint8_t> codes(static_cast<size_t>(tile.rows * tile.padded_columns()));
  std::vector<uint32_t> pairs(static_cast<size_t>(tile.rows * tile.groups()));
  rtn(tile, name, values.data(), codes.data(), pairs.data());
  for (int64_t row = 0; row < tile.rows; ++row) {
    for (int64_t k = 0; k < tile.columns; ++k) {
      out(row, k) =
          decode_code(tile.encoding, codes[static_cast<size_t>(row * tile.padded_columns() + k)],
                      pairs[static_cast<size_t>(row * tile.groups() + k / tile.group)]);
    }
  }
  return out;
}

// `moments` of the input, or null for the plain error.
std::vector<double> errors_of(const QuantWeight& weight, const std::vector<WeightFormat>& candidates,
                              const Eigen::MatrixXf* moments, int threads) {
  const int64_t rows = weight.format.rows, tiles = (rows + kTileRows - 1) / kTileRows;
  const auto squares = [&](const Rows& a) -> Eigen::VectorXd {
    if (moments == nullptr) return a.cast<double>().rowwise().squaredNorm();
    const Rows weighed = a * *moments;
    return a.cwiseProduct(weighed).cast<double>().rowwise().sum();
  };
  std::vector<std::vector<double>> sums(static_cast<size_t>(tiles));  // over the rows, by candidate
  parallel_for(tiles, threads, [&](int64_t tile) {
    const int64_t first = tile * kTileRows;
    Rows values(std::min(kTileRows, rows - first), weight.format.columns);
    weight.source->read_rows(first, values.rows(), values.data());
    const Eigen::VectorXd norms = squares(values);
    for (const WeightFormat& format : candidates) {
      const Eigen::VectorXd lost = squares(rounded(format, weight.name, values) - values);
      double sum = 0.0;
      for (Eigen::Index row = 0; row < norms.size(); ++row) {
        if (norms(row) > 0.0) sum += std::max(lost(row), 0.0) / norms(row);
      }
      sums[static_cast<size_t>(tile)].push_back(sum);
    }
  });
  std::vector<double> all(candidates.size(), 0.0);
  for (const std::vector<double>& sum : sums) {
    for (size_t i = 0; i < sum.size(); ++i) all[i] += sum[i] / static_cast<double>(rows);
  }
  return all;
}

}  // namespace

std::vector<std::vector<double>> candidate_errors(
    const ir::Graph& graph, const std::vector<int>& layer_of, int layers,
    const std::vector<QuantWeight>& weights,
    const std::vector<std::vector<WeightFormat>>& candidates, const CalibrationWindows* windows,
    int threads, const std::function<void(int done, int total)>& after_layer) {
  std::vector<std::vector<double>> errors(weights.size());
  for (size_t i = 0; i < weights.size(); ++i) {
    if (candidates[i].size() < 2) errors[i].assign(candidates[i].size(), 0.0);
  }
  const auto measure = [&](size_t weight, const Eigen::MatrixXf* moments) {
    if (errors[weight].empty()) {
      errors[weight] = errors_of(weights[weight], candidates[weight], moments, threads);
    }
  };
  const std::vector<std::vector<WeightUse>> uses = find_uses(graph, weights);
  const std::vector<Site> sites = find_sites(graph, layer_of, weights, uses);
  if (windows != nullptr) {
    const size_t first_held_out = windows->windows.size() - windows->held_out;
    LayerRun run(graph, layer_of, windows->windows, threads);
    for (int layer = -1; layer <= layers; ++layer) {
      std::vector<const Site*> own;
      for (const Site& site : sites) {
        if (site.layer == layer) own.push_back(&site);
      }
      const std::vector<InputStatistics> statistics =
          measure_sites(own, weights, run, first_held_out, threads);
      for (size_t i = 0; i < own.size(); ++i) {
        for (const size_t weight : own[i]->weights) measure(weight, &statistics[i].second);
      }
      if (layer >= 0 && layer < layers) run.advance(layer);
      if (layer >= 0) after_layer(layer + 1, layers + 1);
    }
  }
  for (size_t i = 0; i < weights.size(); ++i) measure(i, nullptr);
  for (const Site& site : sites) {
    if (site.layer != layers) continue;
    for (const size_t weight : site.weights) {
      for (double& error : errors[weight]) error *= 2.0 * layers + 1.0;
      const bool looked_up =
          std::any_of(uses[weight].begin(), uses[weight].end(), [&](const WeightUse& use) {
            return graph.node(use.node).is("Embed", "pocket");
          });
      if (!looked_up || candidates[weight].size() < 2) continue;
      const std::vector<double> plain =
          errors_of(weights[weight], candidates[weight], nullptr, threads);
      for (size_t c = 0; c < plain.size(); ++c) errors[weight][c] += plain[c];
    }
  }
  return errors;
}

}  // namespace pocket
