#include "converter/quantise.h"

#include <sys/resource.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <map>
#include <optional>

#include "converter/budget_formats.h"
#include "converter/lower/integer_codes.h"
#include "converter/lower/layers.h"
#include "converter/quant/any_precision.h"
#include "converter/quant/calibrate.h"
#include "converter/quant/encode.h"
#include "converter/quant/rtn.h"
#include "converter/quant/sensitivity.h"

namespace pocket {
namespace {

constexpr int kThreads = 2;

bool of_head(const LoweredWeight& weight) {
  return weight.role == WeightRole::embedding || weight.role == WeightRole::head;
}

// `head`: of embedding and head.
WeightFormat format_of(const LoweredWeight& weight, Encoding head, const ConvertOptions& options) {
  WeightFormat format;
  format.rows = weight.source.rows();
  format.columns = weight.source.columns();
  if (weight.role == WeightRole::vector) return format;
  // Learned positions are looked up once and added: they stay f16 under every option.
  format.encoding = weight.role == WeightRole::positions ? Encoding::f16
                    : of_head(weight)                    ? head
                                                         : options.weights;
  if (format.encoding == Encoding::any) {
    format.widths = options.widths;
    format.width = static_cast<int32_t>(std::bit_width(options.widths)) - 1;
  }
  if (!format.four_bit()) return format;
  format.group = group_for(weight.source, options.group_size);
  return format;
}

// Codes that the model's file already holds stay as they are, where a 4-bit format can take them.
bool keeps_codes(const WeightSource& source, const WeightFormat& format) {
  return format.four_bit() && holds_integer_codes(source, format.group);
}

CodeReader code_reader(const WeightSource& source, const WeightFormat& format) {
  if (!keeps_codes(source, format)) return {};
  return [&source, group = format.group](int64_t first, int64_t count, uint8_t* codes,
                                         float* scales, float* zeros) {
    read_integer_codes(source, group, first, count, codes, scales, zeros);
  };
}

// GPTQ inverts the second moments of an input: rows that are fewer than a few times its columns say
// little about how they go together, and the feedback then fits the text instead of the model.
constexpr int64_t kRowsPerColumn = 4;

void warn_of_short_text(const CalibrationWindows& windows, const std::vector<QuantWeight>& weights,
                        Progress& progress) {
  int64_t columns = 0, rows = 0;
  for (const QuantWeight& weight : weights) {
    if (weight.format.four_bit()) columns = std::max(columns, weight.format.columns);
  }
  for (size_t i = 0; i + windows.held_out < windows.windows.size(); ++i) {
    rows += static_cast<int64_t>(windows.windows[i].size());
  }
  if (rows >= kRowsPerColumn * columns) return;
  progress.note("the calibration has " + std::to_string(rows) + " tokens to measure on and GPTQ "
                "wants " + std::to_string(kRowsPerColumn * columns) + ", " +
                std::to_string(kRowsPerColumn) + " for each of up to " + std::to_string(columns) +
                " inputs of a linear: give a longer text, or use --method rtn.");
}

// A matrix that several linears share has no one input whose range w8a8 could take.
void keep_unmeasured(const std::vector<std::optional<WeightOutcome>>& outcomes,
                     std::vector<WeightFormat>& formats, Progress& progress) {
  int64_t kept = 0;
  for (size_t i = 0; i < formats.size(); ++i) {
    if (formats[i].encoding != Encoding::w8a8 || outcomes[i]) continue;
    formats[i].encoding = Encoding::f16;
    ++kept;
  }
  if (kept == 0) return;
  progress.note(std::to_string(kept) +
                " tensors stay f16: several linears read them, with inputs of different ranges.");
}

// Where the codes of a w8a8 weight's input end, and what lies beyond.
void set_input(const WeightOutcome& outcome, PackageWriter& writer) {
  const OutlierStatistics& seen = outcome.activation->outliers;
  std::optional<Outlier> outlier;
  if (seen.outliers > 0) {
    outlier = Outlier{outlier_importance(outcome.input_most, outcome.activation->step),
                      seen.hot_channels, static_cast<float>(seen.hit_rate)};
  }
  writer.set_input(outcome.activation->step, std::move(outlier));
}

std::string time_text(double seconds) {
  if (seconds < 90.0) return std::to_string(std::lround(seconds)) + " s";
  return std::to_string(std::lround(seconds / 60.0)) + " min";
}

std::vector<QuantWeight> quant_weights(Lowered& lowered, const std::vector<WeightFormat>& formats) {
  std::vector<QuantWeight> weights;
  for (size_t i = 0; i < lowered.weights.size(); ++i) {
    LoweredWeight& weight = lowered.weights[i];
    weights.push_back(
        {weight.name, &weight.source, formats[i], keeps_codes(weight.source, formats[i])});
  }
  return weights;
}

Calibrated run_calibration(const ConvertOptions& options, const ir::Graph& graph,
                           const CalibrationWindows& windows, const LayerMap& layers,
                           Lowered& lowered, const std::vector<WeightFormat>& formats,
                           Progress& progress, ConvertReport& report) {
  report.calibration = {
      {"file", std::filesystem::path(options.calibration).filename().string()},
      {"tokens", windows.tokens},
      {"windows", windows.windows.size()},
      {"held_out_windows", windows.held_out}};
  progress.stage("calibrating " + options.method.name + " on " + std::to_string(windows.tokens) +
                 " tokens in " + std::to_string(windows.windows.size()) + " windows");
  const std::vector<QuantWeight> weights = quant_weights(lowered, formats);
  if (options.method.gptq) warn_of_short_text(windows, weights, progress);
  CalibrationOptions calibration;
  calibration.awq = options.method.awq;
  calibration.gptq = options.method.gptq;
  calibration.act_order = options.method.act_order;
  calibration.clip = options.method.clip;
  calibration.w8a8 = options.w8a8;
  calibration.threads = kThreads;
  calibration.state_folder = options.output + ".calibration";
  const auto start = std::chrono::steady_clock::now();
  int first = -1;
  return calibrate(graph, layers.layer_of, layers.layers, weights, windows, calibration,
                   [&](int done, int total) {
                     if (first < 0) {
                       first = done - 1;
                       if (first > 0) {
                         progress.note("resumed behind " + std::to_string(first) +
                                       " layers that an interrupted run had finished.");
                       }
                     }
                     const std::chrono::duration<double> spent =
                         std::chrono::steady_clock::now() - start;
                     const double left = spent.count() / (done - first) * (total - done);
                     progress.count(done, total,
                                    "layers, " + time_text(left) + " left, peak " +
                                        std::to_string(peak_memory_bytes() >> 20) + " MiB");
                   });
}

}  // namespace

Encoding head_encoding(const ConvertOptions& options, const std::vector<LoweredWeight>& weights) {
  constexpr double kMostAdded = 0.25;  // bits for each weight of the file
  if (options.head_weights) return *options.head_weights;
  if (options.weights != Encoding::int4 && options.weights != Encoding::m0e4) return Encoding::f16;
  if (options.target_bits > 0) return options.weights;
  double added = 0.0, count = 0.0;
  for (const LoweredWeight& weight : weights) {
    const auto own = static_cast<double>(weight.source.rows() * weight.source.columns());
    count += own;
    if (!of_head(weight)) continue;
    const WeightFormat format = format_of(weight, options.weights, options);
    if (keeps_codes(weight.source, format)) return options.weights;
    added += 16.0 * own - 8.0 * static_cast<double>(format.stored_bytes());
  }
  return added <= kMostAdded * count ? Encoding::f16 : options.weights;
}

std::unique_ptr<Journal> quantise(const ConvertOptions& options, const ir::Graph& graph,
                                  const onnx_import::HfConfig& config, Lowered& lowered,
                                  Progress& progress, PackageWriter& writer,
                                  ConvertReport& report) {
  const Encoding head = head_encoding(options, lowered.weights);
  std::vector<WeightFormat> formats;
  for (const LoweredWeight& weight : lowered.weights) {
    formats.push_back(format_of(weight, head, options));
  }
  report.outcomes.resize(lowered.weights.size());
  const LayerMap layers = find_layers(graph);
  std::optional<CalibrationWindows> windows;
  if (!options.calibration.empty()) {
    windows = read_calibration(
        options.calibration, config.tokenizer_json, config.tokenizer_config_json,
        lowered.program.vocab, lowered.program.max_context,
        options.calibration_tokens > 0 ? options.calibration_tokens : kCalibrationTokens);
  }
  if (options.target_bits > 0) {
    formats = budget_formats(options, graph, layers, lowered, quant_weights(lowered, formats),
                             windows ? &*windows : nullptr, kThreads, progress, report);
  }
  std::optional<Sensitivity> sensitivity;
  std::map<const void*, std::string> names;
  if (!options.sensitivity.empty()) {
    sensitivity.emplace(options.sensitivity);
    names = constant_names(graph);
  }
  std::unique_ptr<Journal> journal;
  if (windows) {
    Calibrated calibrated =
        run_calibration(options, graph, *windows, layers, lowered, formats, progress, report);
    journal = std::move(calibrated.journal);
    for (WeightOutcome& outcome : calibrated.outcomes) {
      report.outcomes[outcome.weight] = std::move(outcome);
    }
    keep_unmeasured(report.outcomes, formats, progress);
  }
  progress.stage("encoding " + std::to_string(lowered.weights.size()) + " tensors as " +
                 encoding_name(options.weights));
  int64_t done = 0, requantised = 0;
  for (size_t i = 0; i < lowered.weights.size(); ++i) {
    const LoweredWeight& weight = lowered.weights[i];
    const WeightFormat& format = formats[i];
    writer.begin_weight(weight.name, weight.shape, format);
    report.roles.push_back(weight.role);
    if (format.four_bit() && !weight.source.parts().empty() &&
        !holds_integer_codes(weight.source, format.group) &&
        weight.source.parts().front().data.quantised) {
      ++requantised;
    }
    if (journal && journal->holds(i)) {
      std::vector<uint8_t> codes, pairs;
      journal->read(i, &codes, &pairs);
      // Kinds lie one after another: codes or planes in the first, pairs or tables in the second.
      size_t next_code = 0, next_pair = 0;
      for (const SectionKind kind : format.section_kinds()) {
        const bool first = kind.role == SectionRole::codes || kind.role == SectionRole::plane;
        const auto bytes = static_cast<size_t>(format.rows) * format.row_bytes(kind);
        size_t& next = first ? next_code : next_pair;
        writer.append(kind.role, std::span<const uint8_t>(first ? codes : pairs).subspan(next, bytes),
                      kind.bits);
        next += bytes;
      }
      if (report.outcomes[i]->activation) set_input(*report.outcomes[i], writer);
      report.errors.push_back(report.outcomes[i]->error);
    } else if (format.encoding == Encoding::any) {
      RowReader read_sensitivity;
      if (sensitivity) {
        read_sensitivity = [from = sensitivity->of(weight.name, weight.source, names)](
                               int64_t first, int64_t count, float* out) {
          from.read_rows(first, count, out);
        };
      }
      report.errors.push_back(encode_any(
          weight.name, format,
          [&](int64_t first, int64_t count, float* out) {
            weight.source.read_rows(first, count, out);
          },
          {}, [&](SectionKind kind, std::span<const uint8_t> bytes) {
            writer.append(kind.role, bytes, kind.bits);
          },
          kThreads, read_sensitivity));
    } else {
      report.errors.push_back(encode_weight(
          weight.name, format,
          [&](int64_t first, int64_t count, float* out) {
            weight.source.read_rows(first, count, out);
          },
          [&](SectionRole role, std::span<const uint8_t> bytes) { writer.append(role, bytes); },
          kThreads, code_reader(weight.source, format),
          [&](const WeightFormat& tile, const float* values, uint8_t* codes, uint32_t* pairs) {
            return rtn(tile, weight.name, values, codes, pairs, options.method.clip);
          }));
    }
    progress.count(++done, static_cast<int64_t>(lowered.weights.size()), weight.name);
  }
  if (requantised > 0) {
    progress.note(std::to_string(requantised) +
                  " tensors that the export holds quantised are quantised again: their codes are "
                  "not 4-bit or lie in blocks that groups of " +
                  std::to_string(options.group_size) + " do not divide.");
  }
  return journal;
}

int64_t peak_memory_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

}  // namespace pocket
