#include "converter/passes/step.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "runtime/base/error.h"

namespace pocket {

using ir::Graph;
using ir::kAbsent;
using ir::Node;
using ir::ValueId;
using reference::HostTensor;

namespace {

constexpr int64_t kDefaultContext = 4096;

// Graph inputs that `values` depend on; Shape reads no contents.
std::set<ValueId> inputs_below(const Graph& graph, const std::vector<ValueId>& values,
                               bool through_shape, const std::vector<ValueId>& given) {
  std::set<ValueId> seen(given.begin(), given.end());
  std::set<ValueId> found;
  std::vector<ValueId> work;
  for (const ValueId value : values) {
    if (seen.insert(value).second) work.push_back(value);
  }
  while (!work.empty()) {
    const ValueId value = work.back();
    work.pop_back();
    if (graph.is_input(value)) found.insert(value);
    const Node* node = graph.producer(value);
    if (node == nullptr || (node->is("Shape") && !through_shape)) continue;
    for (const ValueId input : node->inputs) {
      if (input != kAbsent && seen.insert(input).second) work.push_back(input);
    }
  }
  return found;
}

HostTensor filled(const ir::Value& value, const Bindings& bindings, int64_t integer) {
  std::vector<int64_t> shape;
  for (const Expr& dim : *value.shape) shape.push_back(dim.evaluate(bindings));
  HostTensor tensor = HostTensor::make(value.type, shape);
  std::fill(tensor.i.begin(), tensor.i.end(), integer);
  return tensor;
}

}  // namespace

int64_t ProofScope::positions() const { return max_context > 0 ? max_context : kDefaultContext; }

GraphInterface find_interface(const Graph& graph) {
  GraphInterface found;
  for (const ValueId input : graph.inputs) {
    const std::string& name = graph.value(input).name;
    if (name == "input_ids") found.ids = input;
    if (name == "attention_mask") found.attention_mask = input;
    if (name == "position_ids") found.positions = input;
  }
  return found;
}

std::vector<Step> proof_steps(const ProofScope& scope) {
  const int64_t most = scope.positions();
  // Without a past the rows of a step are all positions, so its square bounds the length.
  constexpr int64_t kMostRows = 513;
  std::vector<Step> steps;
  for (const Step step :
       {Step{1, 0}, Step{5, 0}, Step{3, 4}, Step{1, 7}, Step{17, 16}, Step{2, most - 2},
        Step{1, most - 1}, Step{std::min(most, kMostRows), 0}}) {
    const bool fits = step.past >= 0 && step.tokens + step.past <= most;
    const bool wanted = scope.stateless ? step.past == 0 : step.tokens < kMostRows - 1;
    if (fits && wanted) steps.push_back(step);
  }
  return steps;
}

std::vector<bool> position_only_values(const Graph& graph) {
  const GraphInterface roles = find_interface(graph);
  std::vector<bool> free(graph.value_count(), false);
  for (size_t i = 0; i < graph.value_count(); ++i) {
    const auto id = static_cast<ValueId>(i);
    const ir::Value& value = graph.value(id);
    free[i] = value.constant.has_value() || (value.elements && value.producer == kAbsent) ||
              id == roles.attention_mask || id == roles.positions;
  }
  for (const ir::NodeId id : graph.order()) {
    const Node& node = graph.node(id);
    const bool all =
        node.is("Shape") || std::all_of(node.inputs.begin(), node.inputs.end(), [&](ValueId input) {
          return input == kAbsent || free[static_cast<size_t>(input)];
        });
    for (const ValueId output : node.outputs) {
      if (output != kAbsent) free[static_cast<size_t>(output)] = all;
    }
  }
  return free;
}

bool depends_on_positions_only(const Graph& graph, ValueId value) {
  const GraphInterface roles = find_interface(graph);
  const std::set<ValueId> inputs = inputs_below(graph, {value}, false, {});
  return std::all_of(inputs.begin(), inputs.end(), [&](ValueId input) {
    return input == roles.attention_mask || input == roles.positions;
  });
}

std::optional<StepEvaluator> StepEvaluator::create(const Graph& graph, std::vector<ValueId> values,
                                                   const std::vector<ValueId>& given) {
  const GraphInterface roles = find_interface(graph);
  for (const ValueId input : inputs_below(graph, values, false, given)) {
    if (input != roles.attention_mask && input != roles.positions) return std::nullopt;
  }
  StepEvaluator evaluator;
  evaluator.graph_ = &graph;
  for (const ValueId input : inputs_below(graph, values, true, given)) {
    if (!graph.value(input).shape) return std::nullopt;
    evaluator.inputs_.push_back(input);
  }
  evaluator.values_ = std::move(values);
  return evaluator;
}

std::optional<std::vector<HostTensor>> StepEvaluator::at(
    Step step, const reference::Feeds& given, const reference::Registry* registry) const {
  try {
    const GraphInterface roles = find_interface(*graph_);
    reference::RunOptions options;
    options.registry = registry;
    options.bindings = {{"tokens", step.tokens}, {"past", step.past}};
    reference::Feeds feeds = given;
    for (const ValueId input : inputs_) {
      HostTensor tensor =
          filled(graph_->value(input), options.bindings, input == roles.attention_mask ? 1 : 0);
      if (input == roles.positions) std::iota(tensor.i.begin(), tensor.i.end(), step.past);
      feeds.emplace(input, std::move(tensor));
    }
    auto results = reference::evaluate(*graph_, feeds, values_, options);
    std::vector<HostTensor> wanted;
    for (const ValueId value : values_) wanted.push_back(results.at(value));
    return wanted;
  } catch (const Error&) {
    return std::nullopt;  // a step that cannot be computed proves nothing
  }
}

std::optional<std::vector<int64_t>> shape_at(const Graph& graph, ValueId value, Step step) {
  if (value == kAbsent || !graph.value(value).shape) return std::nullopt;
  const Bindings bindings{{"tokens", step.tokens}, {"past", step.past}};
  try {
    std::vector<int64_t> shape;
    for (const Expr& dim : *graph.value(value).shape) shape.push_back(dim.evaluate(bindings));
    return shape;
  } catch (const Error&) {
    return std::nullopt;
  }
}

}  // namespace pocket
