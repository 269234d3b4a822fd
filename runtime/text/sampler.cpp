#include "runtime/text/sampler.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "runtime/base/error.h"
#include "runtime/text/philox.h"

namespace pocket {

namespace {

constexpr float kLowest = -std::numeric_limits<float>::infinity();

float value_of(float logit) { return std::isnan(logit) ? kLowest : logit; }

int32_t arg_max(std::span<const float> logits) {
  size_t best = 0;
  for (size_t i = 1; i < logits.size(); ++i) {
    if (value_of(logits[i]) > value_of(logits[best])) best = i;
  }
  return static_cast<int32_t>(best);
}

float probability(float logit, float best, float temperature) {
  if (logit == best) return 1;
  return logit == kLowest ? 0 : std::exp((logit - best) / temperature);
}

}  // namespace

void check_sampler_settings(const SamplerSettings& settings) {
  if (!std::isfinite(settings.temperature) || settings.temperature < 0) {
    throw Error(ExitCode::usage, "temperature must be a number of at least 0, not " +
                                     std::to_string(settings.temperature) + "; 0 is greedy");
  }
  if (settings.top_k < 0 || settings.top_k > kMaxTopK) {
    throw Error(ExitCode::usage, "top-k must be from 0 to 256, not " +
                                     std::to_string(settings.top_k) + "; 0 means 256");
  }
  if (!(settings.top_p > 0 && settings.top_p <= 1)) {
    throw Error(ExitCode::usage, "top-p must be above 0 and at most 1, not " +
                                     std::to_string(settings.top_p) + "; 1 keeps every candidate");
  }
}

int32_t sample(std::span<const float> logits, const SamplerSettings& settings, uint64_t position) {
  check_sampler_settings(settings);
  if (logits.empty()) throw Error(ExitCode::bad_input, "no logits to sample from");
  if (settings.temperature == 0) return arg_max(logits);

  const size_t wanted = settings.top_k == 0 ? kMaxTopK : static_cast<size_t>(settings.top_k);
  const size_t k = std::min(wanted, logits.size());
  std::vector<int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  const auto logit = [&](int32_t id) { return value_of(logits[static_cast<size_t>(id)]); };
  std::partial_sort(
      ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(k), ids.end(),
      [&](int32_t a, int32_t b) { return logit(a) != logit(b) ? logit(a) > logit(b) : a < b; });

  std::array<float, kMaxTopK> running{};  // running[i] = p[0] + ... + p[i]
  const float best = logit(ids[0]);
  if (best == kLowest) return ids[0];
  float sum = 0;
  size_t positive = 0;  // candidates with p > 0
  for (size_t i = 0; i < k; ++i) {
    const float p = probability(logit(ids[i]), best, settings.temperature);
    if (p > 0) positive = i + 1;
    sum += p;
    running[i] = sum;
  }

  size_t kept = k;
  if (settings.top_p < 1) {
    const float target = settings.top_p * sum;
    kept = 1;
    while (kept < k && running[kept - 1] < target) ++kept;
  }
  const float threshold = philox_uniform(settings.seed, position) * running[kept - 1];
  for (size_t i = 0; i < kept; ++i) {
    if (running[i] > threshold) return ids[i];
  }
  return ids[std::min(kept, positive) - 1];
}

}  // namespace pocket
