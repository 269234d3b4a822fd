#include "converter/verify.h"

#include <algorithm>
#include <cmath>

#include "converter/reference/executor.h"
#include "converter/verify_weights.h"
#include "runtime/kernels/host_executor.h"

namespace pocket {
namespace {

constexpr int64_t kTokens = 48;

// The same ids in every run, spread over the vocabulary.
std::vector<int64_t> fixed_tokens(int64_t count, int64_t vocab) {
  std::vector<int64_t> ids;
  uint64_t state = 0x9E3779B97F4A7C15ull;
  for (int64_t i = 0; i < count; ++i) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    ids.push_back(static_cast<int64_t>((state >> 33) % static_cast<uint64_t>(vocab)));
  }
  return ids;
}

std::vector<float> graph_logits(const ir::Graph& graph, const std::vector<int64_t>& tokens) {
  return reference::logits(graph, tokens).f;
}

// Relative L2 distance over all rows; infinite when a value is not finite. Single rows may stray
// farther where a softmax is nearly a choice between two tokens.
double distance_of(const std::vector<float>& actual, const std::vector<float>& expected) {
  if (actual.size() != expected.size()) return INFINITY;
  double distance = 0.0, norm = 0.0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double difference = double{actual[i]} - double{expected[i]};
    distance += difference * difference;
    norm += double{expected[i]} * double{expected[i]};
  }
  const double error = std::sqrt(distance / std::max(norm, 1e-30));
  return std::isfinite(error) ? error : INFINITY;
}

// The passes drop the roundings of such a model.
bool computes_in_half(const ir::Graph& graph) {
  for (size_t i = 0; i < graph.value_count(); ++i) {
    const ir::ElementType type = graph.value(static_cast<ir::ValueId>(i)).type;
    if (type == ir::ElementType::f16 || type == ir::ElementType::bf16) return true;
  }
  return false;
}

bool has_w8a8(const Package& package) {
  const auto& weights = package.manifest().weights;
  return std::any_of(weights.begin(), weights.end(), [](const Weight& weight) {
    return weight.format.encoding == Encoding::w8a8;
  });
}

}  // namespace

VerifyResult verify_conversion(const ir::Graph& imported, const ir::Graph& rewritten,
                               const std::vector<LoweredWeight>& weights, const std::string& path) {
  const Package package = Package::open(path);
  for (size_t i = 0; i < package.manifest().shards.size(); ++i) package.verify_shard(i);
  const Program& program = package.manifest().program;
  VerifyResult result;
  result.tokens = std::min(kTokens, program.max_context);
  const std::vector<int64_t> tokens = fixed_tokens(result.tokens, program.vocab);
  if (computes_in_half(imported)) result.passes_tolerance = 5e-3;

  const std::vector<float> original = graph_logits(imported, tokens);
  result.passes_error = distance_of(graph_logits(rewritten, tokens), original);

  HostExecutor::Options options;
  options.context = result.tokens;
  // Codes of activations are 2^-7 of their range apart: a value that f16 moved across the middle
  // between two of them would count as a fault of the file.
  options.round_f16 = !has_w8a8(package);
  HostExecutor executor(package, options);
  const std::vector<int32_t> ids(tokens.begin(), tokens.end());
  const std::vector<float> finished = executor.append(ids);
  const ir::Graph decoded = with_file_weights(rewritten, weights, package);
  result.file_error = distance_of(finished, graph_logits(decoded, tokens));
  result.quantised_error = distance_of(finished, original);
  return result;
}

}  // namespace pocket
