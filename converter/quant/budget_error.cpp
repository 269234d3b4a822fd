#include "converter/quant/budget_error.h"

#include <algorithm>

#include "converter/quant/layer_run.h"
#include "converter/quant/moments.h"
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
  const auto product = [&](const Rows& a) {
    if (moments == nullptr) return a.cast<double>().squaredNorm();
    const Rows weighed = a * *moments;
    return a.cwiseProduct(weighed).cast<double>().sum();
  };
  std::vector<std::vector<double>> sums(static_cast<size_t>(tiles));  // the candidates', then W's
  parallel_for(tiles, threads, [&](int64_t tile) {
    const int64_t first = tile * kTileRows;
    Rows values(std::min(kTileRows, rows - first), weight.format.columns);
    weight.source->read_rows(first, values.rows(), values.data());
    std::vector<double>& sum = sums[static_cast<size_t>(tile)];
    for (const WeightFormat& format : candidates) {
      sum.push_back(product(rounded(format, weight.name, values) - values));
    }
    sum.push_back(product(values));
  });
  std::vector<double> all(candidates.size() + 1, 0.0);
  for (const std::vector<double>& sum : sums) {
    for (size_t i = 0; i < sum.size(); ++i) all[i] += sum[i];
  }
  const double norm = all.back();
  all.pop_back();
  for (double& error : all) error = norm > 0.0 ? std::max(error, 0.0) / norm : 0.0;
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
  if (windows != nullptr) {
    const std::vector<Site> sites = find_sites(graph, layer_of, weights, find_uses(graph, weights));
    const size_t first_held_out = windows->windows.size() - windows->held_out;
    LayerRun run(graph, layer_of, windows->windows, threads);
    for (int layer = -1; layer <= layers; ++layer) {
      std::vector<const Site*> own;
      std::vector<MomentsCollector> collectors;
      std::vector<ir::ValueId> inputs;
      for (const Site& site : sites) {
        if (site.layer != layer) continue;
        own.push_back(&site);
        collectors.emplace_back(weights[site.weights.front()].name, site.columns);
        inputs.push_back(site.input);
      }
      if (!own.empty()) {
        run.evaluate(inputs, [&](size_t window, LayerRun::Values values) {
          for (size_t i = 0; i < own.size(); ++i) {
            const reference::HostTensor& x = values.at(inputs[i]);
            const int64_t columns = own[i]->columns;
            collectors[i].add(
                Eigen::Map<const Rows>(x.f.data(), x.elements() / columns, columns),
                window >= first_held_out, threads);
          }
        });
      }
      for (size_t i = 0; i < own.size(); ++i) {
        const InputStatistics statistics = collectors[i].finish();
        for (const size_t weight : own[i]->weights) measure(weight, &statistics.second);
      }
      if (layer >= 0 && layer < layers) run.advance(layer);
      if (layer >= 0) after_layer(layer + 1, layers + 1);
    }
  }
  for (size_t i = 0; i < weights.size(); ++i) measure(i, nullptr);
  return errors;
}

}  // namespace pocket
