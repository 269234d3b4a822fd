#include "converter/quant/calibrate.h"

#include <xxhash.h>

#include <algorithm>
#include <map>
#include <optional>

#include "converter/quant/awq.h"
#include "converter/quant/awq_gptq.h"
#include "converter/quant/gptq.h"
#include "converter/quant/measure_sites.h"
#include "converter/quant/pack_weight.h"
#include "converter/quant/w8a8_layer.h"
#include "runtime/base/error.h"

namespace pocket {
namespace {

constexpr int64_t kSearchRows = 512;  // of a site's linears that the search for scales looks at

// Everything that decides the result: an interrupted run is resumed only by its equal.
uint64_t key_of(const ir::Graph& graph, const std::vector<QuantWeight>& weights,
                const CalibrationWindows& windows, const CalibrationOptions& options) {
  std::string text = "calibration 2\n" + graph.to_text();
  text += std::to_string(options.awq) + std::to_string(options.gptq) +
          std::to_string(options.act_order) + std::to_string(options.clip) +
          std::to_string(options.w8a8.clip_threshold) + std::to_string(options.w8a8.per_channel) +
          "\n";
  for (const auto& window : windows.windows) {
    for (const int64_t id : window) text += std::to_string(id) + " ";
    text += "\n";
  }
  std::map<const void*, uint64_t> hashes;  // a constant may serve several weights
  const auto hash = [&](const ir::TensorData& data) {
    const auto [entry, fresh] = hashes.try_emplace(data.bytes);
    if (fresh && data.bytes != nullptr) entry->second = XXH64(data.bytes, data.byte_size, 0);
    return std::to_string(entry->second) + " ";
  };
  for (const QuantWeight& weight : weights) {
    text += weight.name + " " + std::to_string(static_cast<int>(weight.format.encoding)) + " " +
            std::to_string(weight.format.group) + " " + std::to_string(weight.format.widths) + " ";
    for (const WeightPart& part : weight.source->parts()) {
      text += hash(part.data);
      if (part.data.quantised == nullptr) continue;
      text += hash(part.data.quantised->codes) + hash(part.data.quantised->scales);
    }
    text += "\n";
  }
  return XXH64(text.data(), text.size(), 0);
}

class Calibration {
 public:
  Calibration(const ir::Graph& graph, const std::vector<int>& layer_of, int layers,
              const std::vector<QuantWeight>& weights, const CalibrationWindows& windows,
              const CalibrationOptions& options)
      : weights_(weights),
        options_(options),
        uses_(find_uses(graph, weights)),
        sites_(find_sites(graph, layer_of, weights, uses_)),
        run_(graph, layer_of, windows.windows, options.threads),
        layers_(layers),
        first_held_out_(windows.windows.size() - windows.held_out) {
    result_.journal = std::make_unique<Journal>(options.state_folder,
                                                key_of(graph, weights, windows, options));
    for (size_t i = 0; i < weights.size(); ++i) {
      for (const WeightUse& use : uses_[i]) {
        if (graph.node(use.node).is("Embed", "pocket")) embeddings_.emplace_back(i, use);
      }
    }
  }

  Calibrated run(const std::function<void(int, int)>& after_layer) {
    const int total = layers_ + 1;
    int done = result_.journal->load([this](const LayerRecord& record) { apply(record); },
                                     &run_.borders());
    result_.resumed_layers = done;
    for (; done < total; ++done) {
      LayerRecord record;
      if (done == 0) {
        replace_embeddings();
        process(-1, record);
      }
      process(done, record);
      if (done < layers_) run_.advance(done);
      run_.restore();
      result_.journal->save(done, record, run_.borders());
      for (const WeightOutcome& outcome : record.outcomes) result_.outcomes.push_back(outcome);
      after_layer(done + 1, total);
    }
    return std::move(result_);
  }

 private:
  void apply(const LayerRecord& record) {
    for (const WeightScales& scales : record.scales) scale(scales);
    for (const WeightOutcome& outcome : record.outcomes) result_.outcomes.push_back(outcome);
  }

  void scale(const WeightScales& scales) {
    WeightSource& source = *weights_.at(scales.weight).source;
    if (scales.rows) {
      source.scale_rows(scales.first, scales.factors);
      return;
    }
    std::vector<float> factors(static_cast<size_t>(source.columns()), 1.0f);
    for (size_t i = 0; i < scales.factors.size(); ++i) {
      factors.at(static_cast<size_t>(scales.first) + i) = scales.factors[i];
    }
    source.scale_columns(factors);
  }

  // The first layer reads the embedding as the file will hold it, rounded to nearest.
  void replace_embeddings() {
    for (const auto& [weight, use] : embeddings_) {
      const QuantWeight& table = weights_[weight];
      if (!table.format.four_bit() || table.keeps_codes) continue;
      run_.replace(use, table.format.rows, unpack(table.format, pack(table, options_.clip, options_.threads)));
    }
  }

  void process(int layer, LayerRecord& record) {
    std::vector<const Site*> sites, w8a8;
    for (const Site& site : sites_) {
      if (site.layer != layer) continue;
      const Encoding encoding = weights_[site.weights.front()].format.encoding;
      (encoding == Encoding::w8a8 ? w8a8 : sites).push_back(&site);
    }
    if (!w8a8.empty()) {
      W8a8Layer made = calibrate_w8a8(weights_, w8a8, run_, first_held_out_, options_.w8a8,
                                      options_.threads);
      for (const W8a8Layer::Linear& linear : made.linears) {
        const size_t index = linear.outcome.weight;
        record.outcomes.push_back(linear.outcome);
        record.codes.push_back(linear.codes);
        record.pairs.push_back(linear.scales);
        for (const WeightUse& use : uses_[index]) {
          run_.replace(use, weights_[index].format.rows,
                       unpack(weights_[index].format, {linear.codes, linear.scales, {}}));
        }
      }
    }
    if (sites.empty()) return;
    std::vector<InputStatistics> statistics =
        measure_sites(sites, weights_, run_, first_held_out_, options_.threads);
    std::vector<double> ratios(sites.size());
    if (options_.awq) {
      // Each search sees the model's own weights, so that their order does not matter.
      std::vector<AwqScales> found(sites.size());
      for (size_t i = 0; i < sites.size(); ++i) {
        if (!sites[i]->fold) continue;
        const AwqProblem problem = problem_of(*sites[i], statistics[i]);
        found[i] = awq_search(problem, options_.threads);
        if (found[i].ratio > 0.0 && options_.gptq &&
            !helps_gptq(*sites[i], problem, found[i].scales, statistics[i])) {
          continue;
        }
        ratios[i] = found[i].ratio;
      }
      for (size_t i = 0; i < sites.size(); ++i) {
        if (ratios[i] > 0.0) fold(*sites[i], found[i].scales, statistics[i], record);
      }
    }
    for (size_t i = 0; i < sites.size(); ++i) round(*sites[i], statistics[i], ratios[i], record);
  }

  AwqProblem problem_of(const Site& site, const InputStatistics& statistics) const {
    const WeightFormat& format = weights_[site.weights.front()].format;
    AwqProblem problem;
    problem.encoding = format.encoding;
    problem.group = format.group;
    problem.moments = &statistics.second;
    problem.magnitudes = statistics.mean_magnitude;
    problem.sources = site.fold->sources;
    problem.scales = site.fold->scales;
    int64_t all = 0;
    for (const size_t weight : site.weights) all += weights_[weight].format.rows;
    const int64_t count = std::min(all, kSearchRows);
    problem.rows.resize(count, site.columns);
    for (int64_t i = 0; i < count; ++i) {
      int64_t row = i * all / count;
      size_t at = 0;
      for (; row >= weights_[site.weights[at]].format.rows; ++at) {
        row -= weights_[site.weights[at]].format.rows;
      }
      weights_[site.weights[at]].source->read_rows(row, 1, problem.rows.row(i).data());
    }
    return problem;
  }

  GptqOptions gptq_options() const {
    return {.act_order = options_.act_order, .threads = options_.threads};
  }

  // Judged on the inputs held out, where there are any.
  bool helps_gptq(const Site& site, const AwqProblem& problem, const std::vector<float>& scales,
                  const InputStatistics& statistics) const {
    const Eigen::MatrixXf& judge =
        statistics.held_out_second.size() != 0 ? statistics.held_out_second : statistics.second;
    std::vector<float> by_column, ones(static_cast<size_t>(site.columns), 1.0f);
    for (const int64_t source : site.fold->sources) {
      by_column.push_back(scales[static_cast<size_t>(source)]);
    }
    const auto loss = [&](const std::vector<float>& factors) {
      return loss_behind_gptq(problem.encoding, problem.group,
                              weights_[site.weights.front()].name, problem.rows, factors,
                              statistics.second, judge, gptq_options());
    };
    return loss(by_column) < loss(ones);
  }

  void fold(const Site& site, const std::vector<float>& scales, InputStatistics& statistics,
            LayerRecord& record) {
    std::vector<float> by_column, inverse;
    for (const int64_t source : site.fold->sources) {
      by_column.push_back(scales[static_cast<size_t>(source)]);
    }
    for (const float factor : scales) inverse.push_back(1.0f / factor);
    const auto add = [&](WeightScales one) {
      scale(one);
      record.scales.push_back(std::move(one));
    };
    for (const size_t weight : site.weights) add({weight, false, 0, by_column});
    for (const ScaleFold::Target& target : site.fold->targets) {
      add({target.weight, target.rows, target.first, inverse});
      replace_scaled(target.weight);
    }
    run_.divide_border(site.input, by_column);
    divide_moments(statistics.second, by_column);
    divide_moments(statistics.held_out_second, by_column);
  }

  // What the run computes with from now on; what is rounded is replaced then.
  void replace_scaled(size_t weight) {
    const WeightFormat& format = weights_[weight].format;
    if (format.four_bit()) return;
    std::vector<float> values(static_cast<size_t>(format.rows * format.columns));
    weights_[weight].source->read_rows(0, format.rows, values.data());
    for (const WeightUse& use : uses_[weight]) run_.replace(use, format.rows, values);
  }

  void round(const Site& site, const InputStatistics& statistics, double ratio,
             LayerRecord& record) {
    std::optional<GptqFactor> factor;
    if (options_.gptq) {
      factor.emplace(weights_[site.weights.front()].name, statistics.second, gptq_options());
    }
    for (const size_t index : site.weights) {
      const QuantWeight& weight = weights_[index];
      RowRounder rounder;
      if (options_.gptq) {
        rounder = [&](const WeightFormat& format, const float* values, uint8_t* codes,
                      uint32_t* pairs) {
          return gptq(format, weight.name, *factor, values, codes, pairs);
        };
      } else if (options_.awq) {
        rounder = [&](const WeightFormat& format, const float* values, uint8_t* codes,
                      uint32_t* pairs) {
          return awq_clip(format, weight.name, statistics.second, values, codes, pairs);
        };
      }
      const bool any = weight.format.encoding == Encoding::any;
      PackedWeight packed = any ? pack_any(weight, statistics.second, options_.threads)
                          : pack(weight, options_.clip, options_.threads, rounder);
      std::vector<float> decoded = unpack(weight.format, packed);
      WeightOutcome outcome;
      outcome.weight = index;
      outcome.method = options_.gptq  ? ratio > 0.0 ? "awq+gptq" : "gptq"
                       : options_.awq ? "awq"
                       : any          ? "any"
                                      : "rtn";
      outcome.error = packed.error;
      outcome.output_error =
          output_error(weight, decoded, statistics.held_out_second, options_.threads);
      outcome.awq_ratio = ratio;
      if (factor) outcome.damping = factor->damping();
      outcome.input_most = statistics.most;
      outcome.input_percentile_999 = statistics.percentile_999;
      for (const WeightUse& use : uses_[index]) {
        // The embedding that shares a head's table is behind us.
        if (use.input >= 3) run_.replace(use, weight.format.rows, decoded);
      }
      record.outcomes.push_back(std::move(outcome));
      record.codes.push_back(std::move(packed.codes));
      record.pairs.push_back(std::move(packed.pairs));
    }
  }

  const std::vector<QuantWeight>& weights_;
  const CalibrationOptions& options_;
  std::vector<std::vector<WeightUse>> uses_;
  std::vector<Site> sites_;
  std::vector<std::pair<size_t, WeightUse>> embeddings_;
  LayerRun run_;
  int layers_;
  size_t first_held_out_;
  Calibrated result_;
};

}  // namespace

Calibrated calibrate(const ir::Graph& graph, const std::vector<int>& layer_of, int layers,
                     const std::vector<QuantWeight>& weights, const CalibrationWindows& windows,
                     const CalibrationOptions& options,
                     const std::function<void(int done, int total)>& after_layer) {
  // Products add up in steps that fit the caches: the same steps, and bytes, on every machine.
  Eigen::setCpuCacheSizes(32 << 10, 1 << 20, 4 << 20);
  return Calibration(graph, layer_of, layers, weights, windows, options).run(after_layer);
}

}  // namespace pocket
