#include "converter/quant/w8a8_layer.h"

#include <algorithm>

#include "converter/quant/magnitudes.h"
#include "converter/quant/parallel.h"
#include "converter/reference/w8a8.h"
#include "runtime/package/w8a8.h"

namespace pocket {
namespace {

using Rows = reference::W8a8Input::Matrix;
using View = Eigen::Map<const Rows>;

constexpr int64_t kTileRows = 128;  // of a weight in one product

// Squares of an output and of what codes change in it, with and without a shadow.
struct Squares {
  double output = 0.0, error = 0.0, shadow_error = 0.0;
  void add(const Squares& other) {
    output += other.output;
    error += other.error;
    shadow_error += other.shadow_error;
  }
};

struct Coded {
  W8a8Codes codes;
  Squares squares;
};

Squares measure(const QuantWeight& weight, const W8a8Codes& made, const View& rows, float step,
                int threads) {
  const reference::W8a8Input plain(rows, step, false), shadowed(rows, step, true);
  const int64_t count = weight.format.rows, columns = weight.format.columns;
  std::vector<Squares> parts(static_cast<size_t>((count + kTileRows - 1) / kTileRows));
  parallel_for(static_cast<int64_t>(parts.size()), threads, [&](int64_t tile) {
    const int64_t first = tile * kTileRows, taken = std::min(kTileRows, count - first);
    Rows values(taken, columns), codes(taken, columns);
    weight.source->read_rows(first, taken, values.data());
    for (int64_t i = 0; i < taken * columns; ++i) {
      codes.data()[i] = static_cast<float>(made.codes[static_cast<size_t>(first * columns + i)]);
    }
    const Rows expected = rows * values.transpose();
    Rows actual(rows.rows(), taken);
    const auto error = [&](const reference::W8a8Input& input) {
      input.multiply(codes, made.scales.data() + first, actual);
      return (actual - expected).cast<double>().squaredNorm();
    };
    Squares& part = parts[static_cast<size_t>(tile)];
    part.output = expected.cast<double>().squaredNorm();
    part.error = part.shadow_error = error(plain);
    if (shadowed.has_shadow()) part.shadow_error = error(shadowed);
  });
  Squares sum;
  for (const Squares& part : parts) sum.add(part);
  return sum;
}

}  // namespace

W8a8Layer calibrate_w8a8(const std::vector<QuantWeight>& weights,
                         const std::vector<const Site*>& sites, const LayerRun& run,
                         size_t first_held_out, const W8a8Options& options, int threads) {
  std::vector<ir::ValueId> inputs;
  std::vector<Magnitudes> magnitudes;
  for (const Site* site : sites) {
    inputs.push_back(site->input);
    magnitudes.emplace_back(weights[site->weights.front()].name);
  }
  const auto each = [&](const auto& take) {
    run.evaluate(inputs, [&](size_t window, LayerRun::Values values) {
      for (size_t i = 0; i < sites.size(); ++i) {
        const reference::HostTensor& x = values.at(inputs[i]);
        const int64_t columns = sites[i]->columns;
        take(window, i, View(x.f.data(), x.elements() / columns, columns));
      }
    });
  };
  each([&](size_t, size_t site, const View& rows) { magnitudes[site].add(rows); });

  std::vector<ActivationScale> scales;
  std::vector<OutlierCounter> counters;
  std::vector<std::vector<Coded>> coded(sites.size());
  for (size_t i = 0; i < sites.size(); ++i) {
    scales.push_back(activation_scale(magnitudes[i].most(), magnitudes[i].percentile_999(),
                                      options.clip_threshold));
    counters.emplace_back(sites[i]->columns, scales[i].step);
    for (const size_t weight : sites[i]->weights) {
      coded[i].push_back({w8a8_codes(weights[weight].name, *weights[weight].source,
                                     options.per_channel, threads),
                          {}});
    }
  }
  each([&](size_t window, size_t site, const View& rows) {
    counters[site].add(rows);
    if (window < first_held_out) return;
    for (size_t i = 0; i < coded[site].size(); ++i) {
      const QuantWeight& weight = weights[sites[site]->weights[i]];
      Coded& own = coded[site][i];
      own.squares.add(measure(weight, own.codes, rows, scales[site].step, threads));
    }
  });

  W8a8Layer out;
  for (size_t i = 0; i < sites.size(); ++i) {
    for (size_t k = 0; k < coded[i].size(); ++k) {
      const Coded& made = coded[i][k];
      W8a8Layer::Linear linear;
      WeightOutcome& outcome = linear.outcome;
      outcome.weight = sites[i]->weights[k];
      outcome.method = options.per_channel ? "per-channel" : "per-tensor";
      outcome.error = made.codes.error;
      outcome.input_most = magnitudes[i].most();
      outcome.input_percentile_999 = magnitudes[i].percentile_999();
      outcome.activation = {scales[i].step, counters[i].finish(), {}};
      if (made.squares.output > 0.0) {
        outcome.output_error = made.squares.error / made.squares.output;
        outcome.activation->shadow_error = made.squares.shadow_error / made.squares.output;
      }
      const WeightFormat& format = weights[outcome.weight].format;
      linear.codes = pack_w8a8_codes(format, made.codes.codes.data());
      linear.scales =
          pack_w8a8_scales(format, made.codes.scales.data(), made.codes.codes.data());
      out.linears.push_back(std::move(linear));
    }
  }
  return out;
}

}  // namespace pocket
