#include "converter/passes/rotary_cone.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <set>

#include "converter/passes/match.h"

namespace pocket {

using ir::Graph;
using ir::kAbsent;
using ir::Node;
using ir::ValueId;
using reference::HostTensor;

namespace {

constexpr size_t kLargestCone = 64;  // nodes
// Of a turned value against the turn that its tables say; half-precision exports are evaluated in
// float as well.
constexpr double kExact = 2e-5;

bool is_linear(const Node& node) {
  static constexpr std::array<const char*, 19> kLinear = {
      "Add",     "Sub",     "Mul",     "Neg",       "Concat",    "Slice",
      "Split",   "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Flatten",
      "Gather",  "Expand",  "Cast",    "Identity",  "ScatterND", "GatherElements",
      "GatherND"};
  return node.domain.empty() &&
         std::any_of(kLinear.begin(), kLinear.end(), [&](const char* op) { return node.op == op; });
}

// The nodes between `out` and one leaf.
class Walk {
 public:
  Walk(const Graph& graph, const std::vector<bool>& position_only, ValueId leaf)
      : graph_(graph), position_only_(position_only), leaf_(leaf) {}

  bool reaches_only_leaf(ValueId value) {
    if (value == leaf_) {
      found_leaf_ = true;
      return true;
    }
    if (position_only_.at(static_cast<size_t>(value))) {
      if (!scalar(graph_, value) && !is_integer(value)) tables_.insert(value);
      return true;
    }
    if (!seen_.insert(value).second) return true;
    const Node* node = graph_.producer(value);
    if (node == nullptr || seen_.size() > kLargestCone || !is_linear(*node)) return false;
    if (node->op == "Mul" && !turns(*node) && !with_scalar(graph_, *node)) return false;
    return std::all_of(node->inputs.begin(), node->inputs.end(), [this](ValueId input) {
      return input == kAbsent || reaches_only_leaf(input);
    });
  }
  // Cosines and sines are multiplied in.
  bool complete() const { return found_leaf_ && turning_ >= 2; }
  std::vector<ValueId> tables() const { return {tables_.begin(), tables_.end()}; }

 private:
  bool is_integer(ValueId value) const { return ir::is_integer_type(graph_.value(value).type); }
  bool turns(const Node& node) {
    for (const ValueId input : node.inputs) {
      const bool table = position_only_.at(static_cast<size_t>(input)) && !scalar(graph_, input);
      turning_ += table ? 1 : 0;
      if (table) return true;
    }
    return false;
  }

  const Graph& graph_;
  const std::vector<bool>& position_only_;
  const ValueId leaf_;
  std::set<ValueId> seen_, tables_;
  int turning_ = 0;
  bool found_leaf_ = false;
};

// Values of the root's shape below it, the nearest first.
std::vector<ValueId> possible_leaves(const Graph& graph, ValueId out,
                                     const std::vector<bool>& position_only) {
  std::vector<ValueId> leaves;
  std::set<ValueId> seen{out};
  std::vector<ValueId> front{out};
  while (!front.empty() && seen.size() < kLargestCone) {
    std::vector<ValueId> next;
    for (const ValueId value : front) {
      const Node* node = graph.producer(value);
      if (node == nullptr || !is_linear(*node)) continue;
      for (const ValueId input : node->inputs) {
        if (input == kAbsent || position_only.at(static_cast<size_t>(input)) ||
            !seen.insert(input).second) {
          continue;
        }
        if (same_shape(graph, input, out)) leaves.push_back(input);
        next.push_back(input);
      }
    }
    front = std::move(next);
  }
  return leaves;
}

// The one axis of the length `tokens`.
std::optional<size_t> sequence_axis(const Graph& graph, ValueId value) {
  const std::vector<Expr>& shape = *graph.value(value).shape;
  std::optional<size_t> found;
  for (size_t i = 0; i + 1 < shape.size(); ++i) {
    if (shape[i].is_constant()) continue;
    if (found || !(shape[i] == Expr::symbol("tokens"))) return std::nullopt;
    found = i;
  }
  return found;
}

// A cone evaluated on numbers that are far from 0, so that tables can be read off.
struct Turned {
  HostTensor x, y;
  int64_t width = 0, inner = 1, tokens = 0;
  int64_t row_count() const { return x.elements() / width; }
  int64_t token_of(int64_t row) const { return row / inner % tokens; }
  double in(int64_t row, int64_t i) const { return at(x, row, i); }
  double out(int64_t row, int64_t i) const { return at(y, row, i); }

 private:
  double at(const HostTensor& tensor, int64_t row, int64_t i) const {
    return static_cast<double>(tensor.f[static_cast<size_t>(row * width + i)]);
  }
};

std::optional<Turned> turned_at(const Graph& graph, const RotaryCone& cone, Step step) {
  const auto shape = shape_at(graph, cone.x, step);
  const auto evaluator = StepEvaluator::create(graph, {cone.out}, {cone.x});
  if (!shape || !evaluator) return std::nullopt;
  Turned turned;
  turned.x = HostTensor::make(ir::ElementType::f32, *shape);
  uint32_t state = 12345;
  for (float& value : turned.x.f) {
    state = state * 1664525u + 1013904223u;
    const float size = 0.5f + static_cast<float>(state >> 9) / static_cast<float>(1u << 23);
    value = (state & 256u) != 0 ? -size : size;
  }
  reference::Feeds feeds;
  feeds.emplace(cone.x, turned.x);
  auto results = evaluator->at(step, feeds);
  if (!results || results->front().shape != *shape || results->front().is_integer()) {
    return std::nullopt;
  }
  turned.y = std::move(results->front());
  turned.width = shape->back();
  turned.tokens = step.tokens;
  for (size_t i = cone.sequence_axis + 1; i + 1 < shape->size(); ++i) turned.inner *= (*shape)[i];
  return turned;
}

struct Pair {
  int64_t a, b;
};
Pair pair_of(const RotaryLayout& layout, int64_t i) {
  if (layout.interleaved) return {2 * i, 2 * i + 1};
  return {i, i + layout.rotary_dim / 2};
}

// Tables from the first head of each token; none when another head or element turns otherwise.
std::optional<RotaryTables> read_tables(const Turned& turned, const RotaryLayout& layout) {
  RotaryTables tables;
  tables.rows = turned.tokens;
  tables.pairs = layout.rotary_dim / 2;
  const auto size = static_cast<size_t>(tables.rows * tables.pairs);
  tables.cosines.assign(size, 0.0f);
  tables.sines.assign(size, 0.0f);
  std::vector<char> known(static_cast<size_t>(tables.rows), 0);
  for (int64_t row = 0; row < turned.row_count(); ++row) {
    const int64_t token = turned.token_of(row);
    const auto start = static_cast<size_t>(token * tables.pairs);
    for (int64_t i = 0; i < tables.pairs; ++i) {
      const Pair p = pair_of(layout, i);
      const double a = turned.in(row, p.a), b = turned.in(row, p.b);
      const double new_a = turned.out(row, p.a), new_b = turned.out(row, p.b);
      const size_t at = start + static_cast<size_t>(i);
      if (known[static_cast<size_t>(token)] == 0) {
        const double norm = a * a + b * b;
        tables.cosines[at] = static_cast<float>((a * new_a + b * new_b) / norm);
        tables.sines[at] = static_cast<float>((a * new_b - b * new_a) / norm);
      }
      const auto c = static_cast<double>(tables.cosines[at]);
      const auto s = static_cast<double>(tables.sines[at]);
      if (!(std::abs(a * c - b * s - new_a) <= kExact * 4) ||
          !(std::abs(b * c + a * s - new_b) <= kExact * 4)) {
        return std::nullopt;
      }
    }
    for (int64_t i = layout.rotary_dim; i < turned.width; ++i) {
      if (turned.in(row, i) != turned.out(row, i)) return std::nullopt;
    }
    known[static_cast<size_t>(token)] = 1;
  }
  return tables;
}

}  // namespace

std::optional<RotaryCone> find_rotary_cone(const Graph& graph, ValueId out,
                                           const std::vector<bool>& position_only) {
  if (!has_shape(graph, out) || rank(graph, out) < 3 || !last_dim(graph, out) ||
      position_only.at(static_cast<size_t>(out))) {
    return std::nullopt;
  }
  const auto axis = sequence_axis(graph, out);
  if (!axis) return std::nullopt;
  for (const ValueId leaf : possible_leaves(graph, out, position_only)) {
    Walk walk(graph, position_only, leaf);
    if (walk.reaches_only_leaf(out) && walk.complete()) {
      return RotaryCone{leaf, out, *axis, walk.tables()};
    }
  }
  return std::nullopt;
}

std::optional<RotaryLayout> rotary_layout(const Graph& graph, const RotaryCone& cone,
                                          const ProofScope& scope) {
  const int64_t most = scope.positions();
  const int64_t tokens = std::min<int64_t>(most, scope.stateless ? 64 : 3);
  const auto turned = turned_at(graph, cone, {tokens, scope.stateless ? 0 : most - tokens});
  if (!turned) return std::nullopt;
  int64_t changed = 0;  // elements up to the last one that any row changes
  for (int64_t row = 0; row < turned->row_count(); ++row) {
    for (int64_t i = changed; i < turned->width; ++i) {
      if (turned->in(row, i) != turned->out(row, i)) changed = i + 1;
    }
  }
  const int64_t rotary_dim = changed + changed % 2;
  if (rotary_dim < 2 || rotary_dim > turned->width) return std::nullopt;
  for (const bool interleaved : {false, true}) {
    const RotaryLayout layout{rotary_dim, interleaved};
    if (read_tables(*turned, layout)) return layout;
  }
  return std::nullopt;
}

RotaryTablesAt rotary_tables(const Graph& graph, const RotaryCone& cone,
                             const RotaryLayout& layout) {
  return [&graph, cone, layout](Step step) -> std::optional<RotaryTables> {
    const auto turned = turned_at(graph, cone, step);
    if (!turned) return std::nullopt;
    return read_tables(*turned, layout);
  };
}

}  // namespace pocket
