#include "converter/passes/attention_proof.h"

#include <cmath>
#include <set>

namespace pocket {

using ir::Graph;
using ir::kAbsent;
using ir::ValueId;
using reference::HostTensor;

namespace {

constexpr double kTolerance = 1e-4;  // relative L2: two orders of float sums
constexpr int64_t kShortWindow = 64;

HostTensor random_tensor(const std::vector<int64_t>& shape, uint32_t& state) {
  HostTensor tensor = HostTensor::make(ir::ElementType::f32, shape);
  for (float& value : tensor.f) {
    float sum = 0;  // nearly normal
    for (int i = 0; i < 4; ++i) {
      state = state * 1664525u + 1013904223u;
      sum += static_cast<float>(state >> 8) / static_cast<float>(1u << 24) - 0.5f;
    }
    value = 1.7f * sum;
  }
  return tensor;
}

bool close(const HostTensor& a, const HostTensor& b) {
  if (a.is_integer() || b.is_integer() || a.f.size() != b.f.size()) return false;
  double difference = 0, size = 0;
  for (size_t i = 0; i < a.f.size(); ++i) {
    const auto x = static_cast<double>(a.f[i]), y = static_cast<double>(b.f[i]);
    if (!std::isfinite(x) || !std::isfinite(y)) return false;
    difference += (x - y) * (x - y);
    size += x * x;
  }
  return std::sqrt(difference) <= kTolerance * std::sqrt(size);
}

}  // namespace

bool proves_equal(const Graph& graph, const AttentionProof& proof, const ProofScope& scope) {
  std::vector<ValueId> values;
  for (const auto& [before, after] : proof.pairs) {
    if (before == kAbsent || after == kAbsent) return false;
    values.push_back(before);
    values.push_back(after);
  }
  const std::set<ValueId> cuts(proof.cuts.begin(), proof.cuts.end());
  const auto evaluator = StepEvaluator::create(graph, values, proof.cuts);
  if (!evaluator) return false;
  std::vector<Step> steps = {{1, 0}, {5, 0}, {3, 4}, {1, 7}, {17, 16}, {33, 0}};
  if (proof.window > 0 && proof.window <= kShortWindow) {
    steps.push_back({3, proof.window + 1});
    steps.push_back({proof.window + 3, 0});
  }
  uint32_t state = 1;
  bool any = false;
  for (const Step step : steps) {
    const bool fits = step.tokens + step.past <= scope.positions();
    if (!fits || (scope.stateless && step.past > 0)) continue;
    reference::Feeds feeds;
    for (const ValueId cut : cuts) {
      const auto shape = shape_at(graph, cut, step);
      if (!shape) return false;
      feeds.emplace(cut, random_tensor(*shape, state));
    }
    const auto results = evaluator->at(step, feeds);
    if (!results) return false;
    for (size_t i = 0; i + 1 < results->size(); i += 2) {
      if (!close(results->at(i), results->at(i + 1))) return false;
    }
    any = true;
  }
  return any;
}

}  // namespace pocket
