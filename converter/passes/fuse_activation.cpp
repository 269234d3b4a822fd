// Before: x -> Sigmoid -+                     x -> Pow 3 -> Mul c -> Add x -> Mul c' -> Tanh -+
//         x ------------+-> Mul -> y          x -> Mul 0.5 -----------------> Mul <- Add 1 ---+
// After:  x -> pocket.Activation {silu} -> y  x -> pocket.Activation {gelu_tanh} -> y
// A function of one value is recognised by what it computes: the small graph of element-wise
// operators and scalars is evaluated on sample points and compared with the known functions, so
// every way of writing the same function is found and a near miss (another constant) is not.
#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <map>
#include <numbers>

#include "converter/passes/match.h"
#include "converter/passes/rewrites.h"

namespace pocket {

using ir::Graph;
using ir::kAbsent;
using ir::Node;
using ir::NodeId;
using ir::ValueId;

namespace {

constexpr size_t kLargestCone = 16;  // nodes
constexpr double kTolerance = 2e-4;  // constants may be rounded to half precision
constexpr double kDistinct = 3.0;    // the runner-up must be this much worse

struct KnownFunction {
  const char* name;
  double (*compute)(double);
};
double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }
constexpr std::array<KnownFunction, 8> kKnown = {{
    {"relu", [](double x) { return std::max(x, 0.0); }},
    {"gelu_erf", [](double x) { return 0.5 * x * (1.0 + std::erf(x / std::numbers::sqrt2)); }},
    {"gelu_tanh",
     [](double x) {
       const double inner = std::sqrt(2.0 / std::numbers::pi) * (x + 0.044715 * x * x * x);
       return 0.5 * x * (1.0 + std::tanh(inner));
     }},
    {"silu", [](double x) { return x * sigmoid(x); }},
    {"tanh", [](double x) { return std::tanh(x); }},
    {"sigmoid", sigmoid},
    {"quick_gelu", [](double x) { return x * sigmoid(1.702 * x); }},
    {"relu_square", [](double x) { return std::max(x, 0.0) * std::max(x, 0.0); }},
}};

// The operator's value, none for operators that are not element-wise functions.
std::optional<double> element_wise(const Node& node, const std::vector<double>& in) {
  const std::string& op = node.op;
  if (!node.domain.empty()) {
    if (node.domain == "com.microsoft" && op == "Gelu") return kKnown[1].compute(in[0]);
    if (node.domain == "com.microsoft" && op == "FastGelu") return kKnown[2].compute(in[0]);
    if (node.domain == "com.microsoft" && op == "QuickGelu") {
      return in[0] * sigmoid(static_cast<double>(node.real("alpha", 1.702f)) * in[0]);
    }
    return std::nullopt;
  }
  if (in.size() == 2) {
    if (op == "Add") return in[0] + in[1];
    if (op == "Sub") return in[0] - in[1];
    if (op == "Mul") return in[0] * in[1];
    if (op == "Div") return in[0] / in[1];
    if (op == "Pow") return std::pow(in[0], in[1]);
    if (op == "Max") return std::max(in[0], in[1]);
    return std::nullopt;
  }
  if (in.size() != 1) return std::nullopt;
  if (op == "Tanh") return std::tanh(in[0]);
  if (op == "Erf") return std::erf(in[0]);
  if (op == "Sigmoid") return sigmoid(in[0]);
  if (op == "Exp") return std::exp(in[0]);
  if (op == "Neg") return -in[0];
  if (op == "Relu") return std::max(in[0], 0.0);
  if (op == "Reciprocal") return 1.0 / in[0];
  if (op == "Gelu") {
    return kKnown[node.text("approximate", "none") == "tanh" ? 2 : 1].compute(in[0]);
  }
  return std::nullopt;
}

// Only these make a function worth recognising; the rest is arithmetic around them.
bool is_curve(const Node& node) {
  static constexpr std::array<const char*, 9> kCurves = {
      "Tanh", "Erf", "Sigmoid", "Exp", "QuickGelu", "Relu", "Gelu", "FastGelu", "Max"};
  return std::any_of(kCurves.begin(), kCurves.end(), [&](const char* op) { return node.op == op; });
}

// The nodes between a leaf and the root; every other input is a scalar.
class Cone {
 public:
  static std::optional<Cone> cut(const Graph& graph, ValueId root, ValueId leaf) {
    Cone cone(graph, root, leaf);
    if (!cone.collect(root) || !cone.curved_) return std::nullopt;
    return cone;
  }

  std::optional<double> at(double x) const { return evaluate(root_, x); }

 private:
  Cone(const Graph& graph, ValueId root, ValueId leaf) : graph_(&graph), root_(root), leaf_(leaf) {}

  bool collect(ValueId value) {
    if (value == leaf_ || scalar(*graph_, value)) return true;
    const Node* node = graph_->producer(value);
    if (node == nullptr || ++nodes_ > kLargestCone || node->inputs.empty()) return false;
    if (!element_wise(*node, std::vector<double>(node->inputs.size(), 1.0))) return false;
    curved_ = curved_ || is_curve(*node);
    return std::all_of(node->inputs.begin(), node->inputs.end(),
                       [this](ValueId input) { return input != kAbsent && collect(input); });
  }

  std::optional<double> evaluate(ValueId value, double x) const {
    if (value == leaf_) return x;
    if (const auto number = scalar(*graph_, value)) return number;
    const Node* node = graph_->producer(value);
    std::vector<double> in;
    for (const ValueId input : node->inputs) {
      const auto number = evaluate(input, x);
      if (!number) return std::nullopt;
      in.push_back(*number);
    }
    return element_wise(*node, in);
  }

  const Graph* graph_;
  ValueId root_, leaf_;
  size_t nodes_ = 0;
  bool curved_ = false;
};

double worst_difference(const Cone& cone, const KnownFunction& known) {
  double worst = 0;
  for (int i = -64; i <= 64; ++i) {
    const double x = 0.1237 * i;
    const auto actual = cone.at(x);
    if (!actual || !std::isfinite(*actual)) return HUGE_VAL;
    worst = std::max(worst, std::abs(*actual - known.compute(x)));
  }
  return worst;
}

const char* recognise(const Cone& cone) {
  const KnownFunction* best = nullptr;
  double best_difference = HUGE_VAL, second_difference = HUGE_VAL;
  for (const KnownFunction& known : kKnown) {
    const double difference = worst_difference(cone, known);
    if (difference < best_difference) {
      second_difference = best_difference;
      best_difference = difference;
      best = &known;
    } else {
      second_difference = std::min(second_difference, difference);
    }
  }
  const bool clear =
      best_difference <= kTolerance && best_difference * kDistinct < second_difference;
  return clear ? best->name : nullptr;
}

// Values that the root depends on through element-wise operators, the farthest first, so that the
// largest cone that is a known function wins.
std::vector<ValueId> possible_leaves(const Graph& graph, ValueId root) {
  std::vector<ValueId> leaves;
  std::vector<ValueId> front{root};
  for (size_t depth = 0; depth < kLargestCone && !front.empty(); ++depth) {
    std::vector<ValueId> next;
    for (const ValueId value : front) {
      const Node* node = graph.producer(value);
      if (node == nullptr || node->inputs.empty() ||
          !element_wise(*node, std::vector<double>(node->inputs.size(), 1.0))) {
        continue;
      }
      for (const ValueId input : node->inputs) {
        if (input == kAbsent || scalar(graph, input) || !same_shape(graph, input, root)) continue;
        if (std::find(leaves.begin(), leaves.end(), input) == leaves.end()) {
          leaves.push_back(input);
          next.push_back(input);
        }
      }
    }
    front = std::move(next);
  }
  std::reverse(leaves.begin(), leaves.end());
  return leaves;
}

struct Match {
  ValueId x;
  const char* function;
};
std::optional<Match> match_activation(const Graph& graph, const Node& node) {
  if (node.outputs.size() != 1 || !has_shape(graph, node.outputs[0]) ||
      !ir::is_float_type(graph.value(node.outputs[0]).type)) {
    return std::nullopt;
  }
  for (const ValueId leaf : possible_leaves(graph, node.outputs[0])) {
    const auto cone = Cone::cut(graph, node.outputs[0], leaf);
    if (!cone) continue;
    if (const char* function = recognise(*cone)) return Match{leaf, function};
  }
  return std::nullopt;
}

}  // namespace

int fuse_activation(PassContext& context) {
  Graph& graph = context.graph;
  std::vector<NodeId> order = graph.order();
  std::reverse(order.begin(), order.end());  // the whole function before its parts
  int hits = 0;
  for (const NodeId id : order) {
    if (!graph.alive(id)) continue;
    const Node& node = graph.node(id);
    const auto match = match_activation(graph, node);
    if (!match) continue;
    Node activation;
    activation.name = node.name;
    activation.op = "Activation";
    activation.inputs = {match->x};
    activation.attributes = {{"function", std::string(match->function)}};
    const std::vector<Expr> shape = *graph.value(match->x).shape;
    graph.replace_uses(node.outputs[0], emit(graph, std::move(activation), shape));
    graph.remove_dead();
    ++hits;
  }
  return hits;
}

}  // namespace pocket
