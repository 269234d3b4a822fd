#include "converter/passes/prove.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "converter/reference/executor.h"
#include "runtime/base/error.h"

namespace pocket {

using ir::Graph;
using ir::kAbsent;
using ir::Node;
using ir::ValueId;
using reference::HostTensor;

namespace {

constexpr int64_t kDefaultContext = 4096;
constexpr double kForbidden = -1e4;  // exp(-1e4) is 0 in every float type

int64_t context_or_default(int64_t max_context) {
  return max_context > 0 ? max_context : kDefaultContext;
}

// Graph inputs that `values` depend on; Shape reads no contents.
std::set<ValueId> inputs_below(const Graph& graph, const std::vector<ValueId>& values,
                               bool through_shape) {
  std::set<ValueId> seen(values.begin(), values.end());
  std::set<ValueId> found;
  std::vector<ValueId> work = values;
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

double element(const HostTensor& tensor, size_t index) {
  return tensor.is_integer() ? static_cast<double>(tensor.i[index])
                             : static_cast<double>(tensor.f[index]);
}

// [..., rows, columns] where every dimension before them is 1; one row may lack its dimension.
bool is_matrix(const HostTensor& tensor, int64_t rows, int64_t columns) {
  const size_t dims = tensor.shape.size();
  return dims >= 1 && tensor.shape[dims - 1] == columns &&
         (dims == 1 || tensor.shape[dims - 2] == rows) && tensor.elements() == rows * columns;
}

}  // namespace

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

bool depends_on_positions_only(const Graph& graph, ValueId value) {
  const GraphInterface roles = find_interface(graph);
  const std::set<ValueId> inputs = inputs_below(graph, {value}, false);
  return std::all_of(inputs.begin(), inputs.end(), [&](ValueId input) {
    return input == roles.attention_mask || input == roles.positions;
  });
}

std::optional<StepEvaluator> StepEvaluator::create(const Graph& graph,
                                                   std::vector<ValueId> values) {
  for (const ValueId value : values) {
    if (!depends_on_positions_only(graph, value)) return std::nullopt;
  }
  StepEvaluator evaluator;
  evaluator.graph_ = &graph;
  for (const ValueId input : inputs_below(graph, values, true)) {
    if (!graph.value(input).shape) return std::nullopt;
    evaluator.inputs_.push_back(input);
  }
  evaluator.values_ = std::move(values);
  return evaluator;
}

std::optional<std::vector<HostTensor>> StepEvaluator::at(Step step) const {
  try {
    const GraphInterface roles = find_interface(*graph_);
    reference::RunOptions options;
    options.bindings = {{"tokens", step.tokens}, {"past", step.past}};
    reference::Feeds feeds;
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

std::vector<Step> proof_steps(int64_t max_context) {
  const int64_t most = context_or_default(max_context);
  std::vector<Step> steps;
  for (const Step step : {Step{1, 0}, Step{5, 0}, Step{3, 4}, Step{1, 7}, Step{17, 16},
                          Step{2, most - 2}, Step{1, most - 1}}) {
    if (step.past >= 0 && step.tokens + step.past <= most) steps.push_back(step);
  }
  return steps;
}

std::optional<int64_t> prove_positions(const Graph& graph, ValueId value, int64_t max_context) {
  const auto evaluator = StepEvaluator::create(graph, {value});
  if (!evaluator) return std::nullopt;
  std::optional<int64_t> offset;
  for (const Step step : proof_steps(max_context)) {
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

MaskProof prove_mask(const Graph& graph, ValueId mask, MaskKind kind, int64_t max_context) {
  const auto evaluator = StepEvaluator::create(graph, {mask});
  if (!evaluator) return MaskProof::other;
  bool causal = true, open = true;
  for (const Step step : proof_steps(max_context)) {
    const auto results = evaluator->at(step);
    if (!results) return MaskProof::other;
    const HostTensor& values = results->front();
    const int64_t columns = step.past + step.tokens;
    const auto dims = static_cast<int64_t>(values.shape.size());
    // A mask of one row holds for every row; one that lacks columns is none.
    const int64_t rows = dims >= 2 ? values.shape[static_cast<size_t>(dims - 2)] : 1;
    if (dims < 1 || !is_matrix(values, rows, columns)) return MaskProof::other;
    if (rows != step.tokens && rows != 1) return MaskProof::other;
    for (int64_t row = 0; row < step.tokens; ++row) {
      for (int64_t column = 0; column < columns; ++column) {
        const int64_t stored_row = rows == 1 ? 0 : row;
        const double actual = element(values, static_cast<size_t>(stored_row * columns + column));
        const bool allows = kind == MaskKind::additive  ? actual == 0.0
                            : kind == MaskKind::allowed ? actual != 0.0
                                                        : actual == 0.0;
        const bool forbids = kind == MaskKind::additive ? actual <= kForbidden : !allows;
        const bool expected = column <= step.past + row;
        causal = causal && (expected ? allows : forbids);
        open = open && allows;
      }
    }
    if (!causal && !open) return MaskProof::other;
  }
  return causal ? MaskProof::causal : MaskProof::open;
}

}  // namespace pocket
