#include "converter/budget_formats.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <numeric>

#include "converter/quant/budget.h"
#include "converter/quant/budget_error.h"
#include "runtime/base/error.h"

namespace pocket {
namespace {

constexpr int64_t kGroups[] = {16, 32, 64, 128};
// What a file of groups of 16 costs. Under a smaller budget they are left out: what they save in each
// linear is measured, and promises more than f16 for the few tensors that matter most, but keeps less.
constexpr double kFinestBits = 6.0;

// Formats of one weight; the others of its unit, if any, have equal columns and the same ones.
std::vector<WeightFormat> candidates_of(const ConvertOptions& options, const LoweredWeight& weight,
                                        const QuantWeight& base) {
  if (!base.format.four_bit() || base.keeps_codes) return {base.format};
  std::vector<WeightFormat> out;
  for (const int64_t group : kGroups) {
    if (group == 16 && options.target_bits < kFinestBits) continue;
    WeightFormat format = base.format;
    format.group = std::min(group, (format.columns + 31) / 32 * 32);
    if (out.empty() || out.back().group != format.group) out.push_back(format);
  }
  const bool head = weight.role == WeightRole::embedding || weight.role == WeightRole::head;
  if (!head || !options.head_weights) {
    WeightFormat half = base.format;
    half.encoding = Encoding::f16;
    half.group = 0;
    out.push_back(half);
  }
  return out;
}

// Weights that take one format together: the two matrices of a gated linear, which one kernel
// multiplies by when they are alike.
std::vector<std::vector<size_t>> units_of(const ir::Graph& graph,
                                          const std::vector<QuantWeight>& weights) {
  const std::vector<std::vector<WeightUse>> uses = find_uses(graph, weights);
  std::vector<size_t> first(weights.size());
  std::iota(first.begin(), first.end(), size_t{0});
  std::map<ir::NodeId, size_t> gate;
  for (size_t i = 0; i < weights.size(); ++i) {
    for (const WeightUse& use : uses[i]) {
      if (use.input < 3 || !graph.node(use.node).is("GatedLinear", "pocket")) continue;
      const auto [entry, fresh] = gate.try_emplace(use.node, i);
      if (fresh || weights[i].keeps_codes || weights[entry->second].keeps_codes) continue;
      first[i] = first[entry->second];
    }
  }
  std::vector<std::vector<size_t>> units(weights.size());
  for (size_t i = 0; i < weights.size(); ++i) units[first[i]].push_back(i);
  std::erase_if(units, [](const auto& unit) { return unit.empty(); });
  return units;
}

[[noreturn]] void fail_below(double target, double least, Encoding encoding) {
  char text[240];
  std::snprintf(text, sizeof text,
                "--target-bits %g is below the least that this model can have, %.4f bits a weight "
                "with %s, scales and vectors counted: ask for %.4f or more.",
                target, least, encoding_name(encoding), std::ceil(least * 1e4) / 1e4);
  throw Error(ExitCode::usage, text);
}

}  // namespace

std::vector<WeightFormat> budget_formats(const ConvertOptions& options, const ir::Graph& graph,
                                         const LayerMap& layers, const Lowered& lowered,
                                         const std::vector<QuantWeight>& weights,
                                         const CalibrationWindows* windows, int threads,
                                         Progress& progress, ConvertReport& report) {
  std::vector<std::vector<WeightFormat>> candidates;
  double count = 0.0;
  for (size_t i = 0; i < weights.size(); ++i) {
    candidates.push_back(candidates_of(options, lowered.weights[i], weights[i]));
    count += static_cast<double>(weights[i].format.rows * weights[i].format.columns);
  }
  const std::vector<std::vector<size_t>> members = units_of(graph, weights);
  std::vector<BudgetUnit> units(members.size());
  for (size_t u = 0; u < members.size(); ++u) {
    units[u].resize(candidates[members[u].front()].size());
    for (const size_t weight : members[u]) {
      for (size_t c = 0; c < units[u].size(); ++c) {
        units[u][c].bytes += candidates[weight].at(c).stored_bytes();
      }
    }
  }
  // Before anything is measured: this needs no text.
  const double least = 8.0 * static_cast<double>(least_bytes(units)) / count;
  const double allowed = std::floor(options.target_bits * count / 8.0);
  if (allowed < static_cast<double>(least_bytes(units))) {
    fail_below(options.target_bits, least, options.weights);
  }
  progress.stage("measuring what each format of each weight loses");
  const std::vector<std::vector<double>> errors = candidate_errors(
      graph, layers.layer_of, layers.layers, weights, candidates, windows, threads,
      [&](int done, int total) { progress.count(done, total, "layers"); });
  for (size_t u = 0; u < members.size(); ++u) {
    for (const size_t weight : members[u]) {
      for (size_t c = 0; c < units[u].size(); ++c) units[u][c].error += errors[weight][c];
    }
  }
  const BudgetChoice choice = choose_formats(units, static_cast<uint64_t>(allowed));
  std::vector<WeightFormat> formats(weights.size());
  report.budget = {{"target_bits", options.target_bits},
                   {"bits", 8.0 * static_cast<double>(choice.bytes) / count},
                   {"least_bits", least},
                   {"choices", nlohmann::json::array()}};
  for (size_t u = 0; u < members.size(); ++u) {
    nlohmann::json one = {{"weights", nlohmann::json::array()},
                          {"chosen", choice.chosen[u]},
                          {"candidates", nlohmann::json::array()}};
    for (const size_t weight : members[u]) {
      formats[weight] = candidates[weight][choice.chosen[u]];
      one["weights"].push_back(weights[weight].name);
    }
    if (units[u].size() < 2) continue;  // there was nothing to choose
    for (size_t c = 0; c < units[u].size(); ++c) {
      const WeightFormat& format = candidates[members[u].front()][c];
      one["candidates"].push_back({{"encoding", encoding_name(format.encoding)},
                                   {"group", format.group},
                                   {"bytes", units[u][c].bytes},
                                   {"error", units[u][c].error}});
    }
    report.budget["choices"].push_back(std::move(one));
  }
  return formats;
}

}  // namespace pocket
