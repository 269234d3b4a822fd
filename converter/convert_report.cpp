#include "converter/convert_report.h"

#include <cmath>
#include <cstdio>
#include <map>

#include "converter/quantise.h"

namespace pocket {
namespace {

using nlohmann::json;

template <typename... Arguments>
std::string format(const char* pattern, Arguments... arguments) {
  char text[256];
  std::snprintf(text, sizeof text, pattern, arguments...);
  return text;
}

uint64_t bytes_of(const Weight& weight) { return weight.format.stored_bytes(); }

// Signal to noise in decibels; absent when nothing was lost.
json signal_to_noise(const QuantError& error) {
  if (error.squared_error <= 0.0 || error.squared_norm <= 0.0) return nullptr;
  return 10.0 * std::log10(error.squared_norm / error.squared_error);
}

// How the input of a w8a8 linear becomes codes, and what lies beyond them.
json activation_json(const WeightOutcome& outcome) {
  const OutlierStatistics& seen = outcome.activation->outliers;
  json out = {{"step", outcome.activation->step},
              {"saturation", seen.saturation()},
              {"shadow_error", nullptr},
              {"outlier", nullptr}};
  if (outcome.activation->shadow_error) out["shadow_error"] = *outcome.activation->shadow_error;
  if (seen.outliers == 0) return out;
  out["outlier"] = {{"importance", outlier_importance(outcome.input_most, outcome.activation->step)},
                    {"channels", seen.channels},
                    {"hot_channels", seen.hot_channels},
                    {"frequencies", seen.frequencies},
                    {"hit_rate", seen.hit_rate}};
  return out;
}

// How the numbers of a weight came to their codes, and what that cost in its output.
json quantisation_json(const Weight& weight, const QuantError& error,
                       const std::optional<WeightOutcome>& outcome) {
  const auto count = static_cast<double>(weight.format.rows * weight.format.columns);
  const bool any = weight.format.encoding == Encoding::any;
  const char* plain = any ? "any" : weight.format.four_bit() ? "rtn" : "round";
  json out = {{"method", outcome ? outcome->method : plain},
              {"bits", 8.0 * static_cast<double>(bytes_of(weight)) / count},
              {"saturation", static_cast<double>(error.saturated) / count},
              {"output_error", nullptr},
              {"awq_ratio", nullptr},
              {"damping", nullptr},
              {"input_most", nullptr},
              {"input_percentile_999", nullptr},
              {"activation", nullptr}};
  if (!outcome) return out;
  if (outcome->output_error) out["output_error"] = *outcome->output_error;
  if (outcome->awq_ratio > 0.0) out["awq_ratio"] = outcome->awq_ratio;
  if (outcome->damping > 0.0) out["damping"] = outcome->damping;
  out["input_most"] = outcome->input_most;
  out["input_percentile_999"] = outcome->input_percentile_999;
  if (outcome->activation) out["activation"] = activation_json(*outcome);
  return out;
}

json quality_json(const Quality& quality) {
  const Quality::Window sum = quality.sum();
  const auto tokens = static_cast<double>(sum.tokens);
  json out = {{"tokens", sum.tokens},
              {"model_perplexity", std::exp(sum.model_nll / tokens)},
              {"perplexity", std::exp(sum.nll / tokens)},
              {"kl", sum.kl / tokens},
              {"top1", static_cast<double>(sum.agreed) / tokens},
              {"window_tokens", json::array()},
              {"window_kl", json::array()}};
  for (const Quality::Window& window : quality.windows) {
    if (window.tokens == 0) continue;
    out["window_tokens"].push_back(window.tokens);
    out["window_kl"].push_back(window.kl / static_cast<double>(window.tokens));
  }
  return out;
}

}  // namespace

json ConvertReport::to_json(const Package& package) const {
  const Manifest& manifest = package.manifest();
  json out = {{"schema", "pocketformer.convert"}, {"version", 1}};
  out["source"] = {{"model_file", source.model_file},
                   {"producer", source.producer},
                   {"opset", source.opset},
                   {"nodes", source.nodes},
                   {"constants", source.constants},
                   {"inline_bytes", source.inline_bytes},
                   {"external_bytes", source.external_bytes},
                   {"external_files", source.external_files},
                   {"notes", source.notes}};
  out["shapes"] = {{"nodes_before", shapes.nodes_before},
                   {"nodes_after", shapes.nodes_after},
                   {"folded_constant", shapes.folded_constant},
                   {"folded_symbolic", shapes.folded_symbolic}};
  const json rewrites = passes.to_json();
  out["passes"] = rewrites.at("passes");
  out["notes"] = rewrites.at("notes");
  out["dispatches"] = dispatches;
  out["unfused"] = json::array();
  for (const UnfusedNode& node : unfused) {
    out["unfused"].push_back({{"operator", node.op}, {"node", node.name}});
  }
  out["weights"] = json::array();
  uint64_t weight_bytes = 0;
  for (size_t i = 0; i < manifest.weights.size(); ++i) {
    const Weight& weight = manifest.weights[i];
    const auto count = static_cast<double>(weight.format.rows * weight.format.columns);
    weight_bytes += bytes_of(weight);
    out["weights"].push_back({{"name", weight.name},
                              {"role", weight_role_name(roles[i])},
                              {"shape", weight.shape},
                              {"encoding", encoding_name(weight.format.encoding)},
                              {"group", weight.format.group},
                              {"bytes", bytes_of(weight)},
                              {"mse", errors[i].squared_error / count},
                              {"snr_db", signal_to_noise(errors[i])},
                              {"quantisation", quantisation_json(weight, errors[i], outcomes[i])}});
  }
  out["file"] = {{"bytes", package.file_bytes()},
                 {"manifest_bytes", package.manifest_bytes()},
                 {"tokenizer_bytes", package.tokenizer_bytes()},
                 {"weight_bytes", weight_bytes}};
  if (!calibration.is_null()) out["calibration"] = calibration;
  if (!budget.is_null()) out["budget"] = budget;
  if (quality) out["quality"] = quality_json(*quality);
  out["peak_memory_bytes"] = peak_memory_bytes();
  if (verify) {
    out["verify"] = {{"tokens", verify->tokens},
                     {"passes_error", verify->passes_error},
                     {"passes_tolerance", verify->passes_tolerance},
                     {"file_error", verify->file_error},
                     {"file_tolerance", verify->file_tolerance},
                     {"quantised_error", verify->quantised_error}};
  }
  return out;
}

std::string ConvertReport::summary(const Package& package) const {
  struct Sum {
    size_t weights = 0;
    uint64_t bytes = 0;
    QuantError error;
  };
  std::map<std::string, Sum> sums;
  const auto& weights = package.manifest().weights;
  for (size_t i = 0; i < weights.size(); ++i) {
    Sum& sum = sums[encoding_name(weights[i].format.encoding)];
    ++sum.weights;
    sum.bytes += bytes_of(weights[i]);
    sum.error.add(errors[i]);
  }
  std::string text = format("%s: %.2f MB, %zu operators, context %lld\n", package.path().c_str(),
                            static_cast<double>(package.file_bytes()) / 1e6,
                            package.manifest().program.operators.size(),
                            static_cast<long long>(package.manifest().program.max_context));
  for (const auto& [name, sum] : sums) {
    text += format("  %-4s %4zu tensors, %10.3f MB", name.c_str(), sum.weights,
                   static_cast<double>(sum.bytes) / 1e6);
    const json ratio = signal_to_noise(sum.error);
    if (!ratio.is_null()) text += format(", signal to noise %.1f dB", ratio.get<double>());
    text += "\n";
  }
  if (!budget.is_null()) {
    text += format("  %.4f bits a weight of the %g asked for; --report lists the choice\n",
                   budget.at("bits").get<double>(), budget.at("target_bits").get<double>());
  }
  if (!calibration.is_null()) {
    size_t measured = 0, scaled = 0, inputs = 0, outliers = 0;
    double error = 0.0;
    for (const auto& outcome : outcomes) {
      if (!outcome) continue;
      scaled += outcome->awq_ratio > 0.0;
      inputs += outcome->activation.has_value();
      outliers += outcome->activation && outcome->activation->outliers.outliers > 0;
      measured += outcome->output_error.has_value();
      error += outcome->output_error.value_or(0.0);
    }
    text += format("  calibrated on %lld tokens",
                   static_cast<long long>(calibration.at("tokens").get<int64_t>()));
    text += inputs > 0 ? format(", outliers in the inputs of %zu of %zu", outliers, inputs)
                       : format(", AWQ scales on %zu tensors", scaled);
    if (measured > 0) {
      text += format(", mean squared error of %zu outputs %.2e of the output", measured,
                     error / static_cast<double>(measured));
    }
    text += "\n";
  }
  if (quality) {
    const json numbers = quality_json(*quality);
    text += format("  %lld tokens held out: perplexity %.4f (model %.4f), KL %.5f, top-1 %.1f %%\n",
                   static_cast<long long>(numbers.at("tokens").get<int64_t>()),
                   numbers.at("perplexity").get<double>(),
                   numbers.at("model_perplexity").get<double>(), numbers.at("kl").get<double>(),
                   100.0 * numbers.at("top1").get<double>());
  }
  if (!unfused.empty()) {
    std::map<std::string, int> operators;
    for (const UnfusedNode& node : unfused) ++operators[node.op];
    text += format("  %zu nodes were not recognised and run as plain operators:", unfused.size());
    for (const auto& [op, count] : operators) text += format(" %s x%d", op.c_str(), count);
    text += "\n";
  }
  if (verify) {
    text += format(
        "  verified on %lld tokens: passes %.1e (at most %.0e), file %.1e (at most "
        "%.0e), quantisation %.1e\n",
        static_cast<long long>(verify->tokens), verify->passes_error, verify->passes_tolerance,
        verify->file_error, verify->file_tolerance, verify->quantised_error);
  }
  return text;
}

}  // namespace pocket
