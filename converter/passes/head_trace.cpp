#include "converter/passes/head_trace.h"

#include <algorithm>
#include <array>
#include <set>

#include "converter/passes/match.h"

namespace pocket {

using ir::Graph;
using ir::kAbsent;
using ir::Node;
using ir::ValueId;
using reference::Call;
using reference::HostTensor;

namespace {

// f32 holds the numbers of this many elements exactly.
constexpr int64_t kMostElements = int64_t{1} << 24;

// The graph input behind movements, kAbsent when the value is none.
ValueId moved_input(const Graph& graph, ValueId value) {
  for (;;) {
    if (graph.is_input(value)) return value;
    const Node* node = graph.producer(value);
    if (node == nullptr || !is_movement(graph, *node)) return kAbsent;
    value = node->inputs[0];
  }
}

bool is_past(const Graph& graph, ValueId value) {
  return std::any_of(graph.states.begin(), graph.states.end(),
                     [value](const ir::StatePair& state) { return state.past == value; });
}

// The value behind movements that all operands of a Concat are parts of.
ValueId common_source(const Graph& graph, const Node& concat) {
  ValueId common = kAbsent;
  for (ValueId value : concat.inputs) {
    for (const Node* node = graph.producer(value); node != nullptr && is_movement(graph, *node);
         node = graph.producer(value)) {
      value = node->inputs[0];
    }
    if (common != kAbsent && value != common) return kAbsent;
    common = value;
  }
  return common;
}

// A norm over each head, with nothing that rotary_kv cannot do.
bool is_head_norm(const Graph& graph, const Node& node, int64_t head_dim) {
  return node.is("Norm", "pocket") && node.inputs[2] == kAbsent && node.inputs[3] == kAbsent &&
         last_dim(graph, node.outputs[0]) == head_dim;
}

// x * constant where x is a norm of heads without a weight of its own; returns (x, constant).
struct Weighted {
  ValueId x = kAbsent, weight = kAbsent;
};
std::optional<Weighted> weighted_norm(const Graph& graph, const Node& node, int64_t head_dim) {
  if (!node.is("Mul")) return std::nullopt;
  for (const size_t side : {size_t{0}, size_t{1}}) {
    const ValueId weight = node.inputs[side];
    if (!is_constant(graph, weight) || scalar(graph, weight)) continue;
    ValueId x = node.inputs[1 - side];
    for (const Node* before = graph.producer(x); before != nullptr && is_movement(graph, *before);
         before = graph.producer(x)) {
      x = before->inputs[0];
    }
    const Node* norm = graph.producer(x);
    if (norm != nullptr && is_head_norm(graph, *norm, head_dim) && norm->inputs[1] == kAbsent) {
      return Weighted{node.inputs[1 - side], weight};
    }
  }
  return std::nullopt;
}

class Tracer {
 public:
  Tracer(const Graph& graph, int64_t head_dim) : graph_(graph), head_dim_(head_dim) {}

  std::optional<HeadTrace> run(ValueId value) {
    while (const Node* node = graph_.producer(value)) {
      const ValueId before = step_over(*node);
      if (before == kAbsent) break;
      value = before;
    }
    trace_.base = value;
    if (trace_.norm_weight != kAbsent && trace_.norm == nullptr) return std::nullopt;
    return trace_;
  }

 private:
  // The operand that the way goes on with; kAbsent when it ends behind this node.
  ValueId step_over(const Node& node) {
    if (is_movement(graph_, node)) return node.inputs[0];
    if (node.is("Concat")) return over_concat(node);
    if (node.is("RotaryEmbedding", "pocket")) return over_rotary(node);
    if (node.is("Norm", "pocket")) return over_norm(node);
    if (node.is("Mul") || node.is("Div")) return over_product(node);
    return kAbsent;
  }

  ValueId over_concat(const Node& node) {
    if (node.inputs.size() == 2 && trace_.append == nullptr) {
      const ValueId past = moved_input(graph_, node.inputs[0]);
      if (past != kAbsent && is_past(graph_, past)) {
        // The state holds what is appended: a norm or a rotation behind it acts on old rows too.
        if (trace_.rotary != nullptr || trace_.norm != nullptr) return kAbsent;
        trace_.past = past;
        trace_.append = &node;
        return node.inputs[1];
      }
    }
    return common_source(graph_, node);
  }

  ValueId over_rotary(const Node& node) {
    if (trace_.rotary != nullptr || trace_.norm != nullptr) return kAbsent;
    trace_.rotary = &node;
    return node.inputs[0];
  }

  ValueId over_norm(const Node& node) {
    if (trace_.norm != nullptr || !is_head_norm(graph_, node, head_dim_)) return kAbsent;
    if (trace_.norm_weight != kAbsent && node.inputs[1] != kAbsent) return kAbsent;
    trace_.norm = &node;
    if (node.inputs[1] != kAbsent) trace_.norm_weight = node.inputs[1];
    return node.inputs[0];
  }

  ValueId over_product(const Node& node) {
    if (trace_.norm != nullptr) return kAbsent;  // before the norm a factor is no factor behind it
    if (node.is("Mul")) {
      if (trace_.norm_weight == kAbsent) {
        if (const auto weighted = weighted_norm(graph_, node, head_dim_)) {
          trace_.norm_weight = weighted->weight;
          return weighted->x;
        }
      }
      const auto split = with_scalar(graph_, node);
      if (!split || scalar(graph_, split->other)) return kAbsent;
      trace_.scale *= split->value;
      return split->other;
    }
    const auto divisor = scalar(graph_, node.inputs[1]);
    if (!divisor || *divisor == 0.0) return kAbsent;
    trace_.scale /= *divisor;
    return node.inputs[0];
  }

  const Graph& graph_;
  const int64_t head_dim_;
  HeadTrace trace_;
};

std::vector<HostTensor> first_input(const Call& call) { return {call.input(0), call.input(0)}; }

// The operand that is no factor: the larger one.
std::vector<HostTensor> larger_input(const Call& call) {
  const bool second = call.input(1).elements() > call.input(0).elements();
  return {call.input(second ? 1 : 0)};
}

const reference::Registry& movement_registry() {
  static const reference::Registry kRegistry = [] {
    reference::Registry registry = reference::standard_registry();
    registry.add("pocket", "Norm", first_input);
    registry.add("pocket", "RotaryEmbedding", first_input);
    registry.add("", "Mul", larger_input);
    registry.add("", "Div", first_input);
    return registry;
  }();
  return kRegistry;
}

}  // namespace

bool is_movement(const Graph& graph, const Node& node) {
  static constexpr std::array<const char*, 10> kMoving = {
      "Reshape",   "Transpose", "Slice",  "Split", "Squeeze",
      "Unsqueeze", "Flatten",   "Expand", "Tile",  "Identity"};
  if (!node.domain.empty()) return false;
  if (node.op == "Gather") return is_constant(graph, node.inputs[1]);
  return std::any_of(kMoving.begin(), kMoving.end(), [&](const char* op) { return node.op == op; });
}

std::optional<HeadTrace> trace_heads(const Graph& graph, ValueId heads, int64_t head_dim) {
  return Tracer(graph, head_dim).run(heads);
}

std::optional<int64_t> row_width(const Graph& graph, ValueId value) {
  if (!has_shape(graph, value)) return std::nullopt;
  const std::vector<Expr>& shape = *graph.value(value).shape;
  size_t axis = 0;
  while (axis < shape.size() && shape[axis] == Expr(1)) ++axis;
  if (axis == shape.size() || !(shape[axis] == Expr::symbol("tokens"))) return std::nullopt;
  int64_t width = 1;
  for (size_t i = axis + 1; i < shape.size(); ++i) {
    if (!shape[i].is_constant()) return std::nullopt;
    width *= shape[i].constant();
  }
  return width;
}

std::optional<std::vector<ElementMap>> element_maps(const Graph& graph,
                                                    const std::vector<ValueId>& values,
                                                    const std::vector<ValueId>& sources,
                                                    Step step) {
  const auto evaluator = StepEvaluator::create(graph, values, sources);
  if (!evaluator) return std::nullopt;
  reference::Feeds feeds;
  int64_t next = 0;
  for (const ValueId source : sources) {
    const auto shape = shape_at(graph, source, step);
    if (!shape || feeds.contains(source)) return std::nullopt;
    HostTensor numbers = HostTensor::make(ir::ElementType::f32, *shape);
    for (float& number : numbers.f) number = static_cast<float>(next++);
    feeds.emplace(source, std::move(numbers));
  }
  if (next > kMostElements) return std::nullopt;
  const auto results = evaluator->at(step, feeds, &movement_registry());
  if (!results) return std::nullopt;
  std::vector<ElementMap> maps;
  for (const HostTensor& result : *results) {
    if (result.is_integer()) return std::nullopt;
    maps.push_back({result.shape, {result.f.begin(), result.f.end()}});
  }
  return maps;
}

}  // namespace pocket
