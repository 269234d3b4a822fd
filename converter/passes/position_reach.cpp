#include "converter/passes/position_reach.h"

#include <algorithm>

namespace pocket {

using ir::Graph;
using ir::kAbsent;
using ir::Node;
using ir::NodeId;
using ir::ValueId;

namespace {

constexpr int64_t kMostRows = 2048;  // of a step without a past, whose masks grow with its square

// Computed values that depend on positions alone and are read by something that does not.
std::vector<ValueId> position_frontier(const Graph& graph) {
  const std::vector<bool> free = position_only_values(graph);
  std::vector<ValueId> values;
  for (const NodeId id : graph.order()) {
    const Node& node = graph.node(id);
    const bool bound = std::any_of(node.outputs.begin(), node.outputs.end(), [&](ValueId output) {
      return output != kAbsent && !free[static_cast<size_t>(output)];
    });
    for (const ValueId input : node.inputs) {
      const bool wanted = bound && input != kAbsent && free[static_cast<size_t>(input)] &&
                          graph.producer(input) != nullptr;
      if (wanted && std::find(values.begin(), values.end(), input) == values.end()) {
        values.push_back(input);
      }
    }
  }
  return values;
}

}  // namespace

int64_t position_reach(const Graph& graph, const ProofScope& scope) {
  const int64_t most = scope.positions();
  const auto evaluator = StepEvaluator::create(graph, position_frontier(graph));
  if (!evaluator || (scope.stateless && most > kMostRows)) return most;
  const auto computable = [&](int64_t positions) {
    const Step step = scope.stateless ? Step{positions, 0} : Step{1, positions - 1};
    return evaluator->at(step).has_value();
  };
  // Where nothing can be computed the tables are not what is in the way.
  if (most < 2 || computable(most) || !computable(1)) return most;
  int64_t known = 1, beyond = most;
  while (beyond - known > 1) {
    const int64_t middle = known + (beyond - known) / 2;
    (computable(middle) ? known : beyond) = middle;
  }
  return known;
}

}  // namespace pocket
