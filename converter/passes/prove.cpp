#include "converter/passes/prove.h"

#include <cmath>

namespace pocket {

using ir::Graph;
using ir::ValueId;
using reference::HostTensor;

namespace {

double element(const HostTensor& tensor, size_t index) {
  return tensor.is_integer() ? static_cast<double>(tensor.i[index])
                             : static_cast<double>(tensor.f[index]);
}

}  // namespace

std::optional<int64_t> prove_positions(const Graph& graph, ValueId value, const ProofScope& scope) {
  const auto evaluator = StepEvaluator::create(graph, {value});
  if (!evaluator) return std::nullopt;
  std::optional<int64_t> offset;
  for (const Step step : proof_steps(scope)) {
    const auto results = evaluator->at(step);
    if (!results || results->front().elements() != step.tokens) return std::nullopt;
    for (int64_t t = 0; t < step.tokens; ++t) {
      const double actual = element(results->front(), static_cast<size_t>(t));
      const double expected = static_cast<double>(step.past + t);
      if (!offset) offset = static_cast<int64_t>(std::llround(actual - expected));
      if (actual != expected + static_cast<double>(*offset)) return std::nullopt;
    }
  }
  return offset;
}

}  // namespace pocket
