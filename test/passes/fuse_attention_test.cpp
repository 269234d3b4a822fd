// Real exports, changed in one place so that their attention is no longer what it seems.
#include <algorithm>

#include "converter/passes/passes.h"
#include "converter/passes/prove.h"
#include "test/passes/decoder_run.h"
#include "test/support/catch.h"

namespace pocket {
namespace {

using ir::Graph;
using ir::Node;
using ir::NodeId;
using ir::ValueId;

std::vector<NodeId> nodes_of(const Graph& graph, const std::string& op) {
  std::vector<NodeId> found;
  for (const NodeId id : graph.order()) {
    if (graph.node(id).op == op) found.push_back(id);
  }
  return found;
}

ValueId add_op(Graph& graph, const std::string& op, std::vector<ValueId> inputs) {
  Node node;
  node.op = op;
  node.name = "/changed/" + op;
  node.inputs = std::move(inputs);
  const NodeId id = graph.add_node(std::move(node));
  return graph.add_output(id, "changed_" + op, ir::ElementType::undefined);
}

struct Outcome {
  int attentions = 0;
  std::vector<std::string> notes;
};

// Runs all passes on a changed export; they must keep what it computes.
Outcome outcome_of(const std::string& folder, const std::function<void(Graph&)>& change) {
  test::Model model = test::load_model(folder, change);
  const auto before = test::two_steps(model.graph);
  const PassReport report = run_passes(model.graph, {model.context});
  CHECK(test::worst_distance(before, test::two_steps(model.graph)) <= 1e-5);
  const auto left = nodes_of(model.graph, "Attention");
  return {static_cast<int>(left.size()), report.notes};
}

constexpr const char* kModel = "tiny-qwen2";

TEST_CASE("a mask that is not causal is never fused") {
  Outcome outcome;
  SECTION("a token does not see itself") {
    outcome = outcome_of(kModel, [](Graph& graph) {
      for (const NodeId id : nodes_of(graph, "LessOrEqual")) graph.node(id).op = "Less";
      // Without a key to look at the first row would be undefined: let it see position 0.
      const NodeId less = nodes_of(graph, "Less").front();
      const ValueId old = graph.node(less).outputs[0];
      const ValueId zero = graph.add_constant("zero", ir::TensorData::from_integers({}, {0}));
      const ValueId first = add_op(graph, "Equal", {graph.node(less).inputs[0], zero});
      const ValueId either = add_op(graph, "Or", {first, old});
      for (const NodeId reader : graph.consumers(old)) {
        if (graph.node(reader).op == "Or") continue;
        auto& inputs = graph.node(reader).inputs;
        std::replace(inputs.begin(), inputs.end(), old, either);
      }
    });
  }
  CHECK(outcome.attentions == 0);
  REQUIRE(!outcome.notes.empty());
  CHECK(outcome.notes.front().find("not causal") != std::string::npos);
}

TEST_CASE("a window that only long texts leave is kept") {
  test::Model model = test::load_model(kModel, [](Graph& graph) {
    const NodeId compare = nodes_of(graph, "LessOrEqual").front();
    const ValueId keys = graph.node(compare).inputs[0];
    const ValueId queries = graph.node(compare).inputs[1];
    const ValueId old = graph.node(compare).outputs[0];
    const ValueId window = graph.add_constant("window", ir::TensorData::from_integers({}, {100}));
    const ValueId near = add_op(graph, "Greater", {add_op(graph, "Add", {keys, window}), queries});
    const ValueId both = add_op(graph, "And", {near, old});
    for (const NodeId reader : graph.consumers(old)) {
      if (graph.node(reader).op == "And" && graph.node(reader).outputs[0] == both) continue;
      auto& inputs = graph.node(reader).inputs;
      std::replace(inputs.begin(), inputs.end(), old, both);
    }
  });
  const auto before = test::two_steps(model.graph);
  run_passes(model.graph, {model.context});
  CHECK(test::worst_distance(before, test::two_steps(model.graph)) <= 1e-5);
  REQUIRE(nodes_of(model.graph, "Attention").size() == 2);
  for (const NodeId id : nodes_of(model.graph, "Attention")) {
    CHECK(model.graph.node(id).integer("window", 0) == 100);
  }
}

TEST_CASE("a softened mask is never fused") {
  const Outcome outcome = outcome_of(kModel, [](Graph& graph) {
    for (size_t i = 0; i < graph.value_count(); ++i) {
      ir::Value& value = graph.value(static_cast<ValueId>(i));
      if (!value.constant || value.constant->elements() != 1 ||
          value.constant->type != ir::ElementType::f32) {
        continue;
      }
      if (value.constant->as_floats().front() < -1e30f) {
        value.constant = ir::TensorData::from_floats(value.constant->shape, {-2.0f});
      }
    }
  });
  CHECK(outcome.attentions == 0);
  CHECK(outcome.notes.size() == 2);
}

TEST_CASE("scores that are scaled differently for each head dimension are never fused") {
  const Outcome outcome = outcome_of(kModel, [](Graph& graph) {
    // The scale of q of the first layer becomes a vector.
    const NodeId softmax = nodes_of(graph, "Softmax").front();
    const Node* sum = graph.producer(graph.node(softmax).inputs[0]);
    const Node* product = graph.producer(sum->inputs[0]);
    REQUIRE(product->op == "MatMul");
    const NodeId scale = graph.value(product->inputs[0]).producer;
    REQUIRE(graph.node(scale).op == "Mul");
    graph.node(scale).inputs[1] = graph.add_constant(
        "vector", ir::TensorData::from_floats({8}, {.5f, .6f, .7f, .8f, .9f, 1.f, 1.1f, 1.2f}));
  });
  CHECK(outcome.attentions == 1);
}

TEST_CASE("probabilities that are read elsewhere keep their attention") {
  const Outcome outcome = outcome_of(kModel, [](Graph& graph) {
    const NodeId softmax = nodes_of(graph, "Softmax").front();
    graph.outputs.push_back(add_op(graph, "Neg", {graph.node(softmax).outputs[0]}));
  });
  CHECK(outcome.attentions == 1);
}

TEST_CASE("a projection that is read elsewhere is not merged") {
  test::Model model = test::load_model(kModel, [](Graph& graph) {
    const ValueId biased = graph.find("/model/layers.0/self_attn/q_proj/Add_output_0");
    REQUIRE(biased != ir::kAbsent);
    graph.outputs.push_back(add_op(graph, "Neg", {biased}));
  });
  const auto before = test::two_steps(model.graph);
  run_passes(model.graph, {model.context});
  CHECK(test::worst_distance(before, test::two_steps(model.graph)) <= 1e-5);
  for (const NodeId id : nodes_of(model.graph, "Attention")) {
    const Node& node = model.graph.node(id);
    const bool first = node.name.find("layers.0") != std::string::npos;
    CHECK((node.inputs[0] == node.inputs[1]) == !first);
  }
}

TEST_CASE("a rotation by other tables keeps them") {
  // Cosines in the place of sines: no angles, but the same numbers at every position.
  test::Model model = test::load_model(kModel, [](Graph& graph) {
    for (const NodeId id : nodes_of(graph, "Sin")) graph.node(id).op = "Cos";
  });
  const auto before = test::two_steps(model.graph);
  run_passes(model.graph, {model.context});
  CHECK(test::worst_distance(before, test::two_steps(model.graph)) <= 1e-5);
  const auto attentions = nodes_of(model.graph, "Attention");
  REQUIRE(attentions.size() == 2);
  const ValueId table = model.graph.node(attentions.front()).inputs[5];
  CHECK(model.graph.value(table).constant->shape == std::vector<int64_t>{model.context, 8});
}

TEST_CASE("positions and tables are proven by evaluation") {
  test::Model model = test::load_model(kModel);
  const Graph& graph = model.graph;
  const ProofScope scope{model.context, false};
  const GraphInterface roles = find_interface(graph);
  CHECK(prove_positions(graph, roles.positions, scope) == 0);
  CHECK(!prove_positions(graph, roles.ids, scope));
  CHECK(!prove_positions(graph, roles.attention_mask, scope));
  const ValueId cosines = graph.node(nodes_of(graph, "Cos").front()).outputs[0];
  const ValueId sines = graph.node(nodes_of(graph, "Sin").front()).outputs[0];
  const auto tables = [&](ValueId first, ValueId second) -> RotaryTablesAt {
    return [&graph, first, second](Step step) -> std::optional<RotaryTables> {
      const auto values = StepEvaluator::create(graph, {first, second})->at(step);
      if (!values) return std::nullopt;
      RotaryTables found;  // the first half of each row
      found.rows = step.tokens;
      found.pairs = values->at(0).shape.back() / 2;
      for (int64_t row = 0; row < found.rows; ++row) {
        const auto start = static_cast<size_t>(row * 2 * found.pairs);
        for (size_t i = 0; i < static_cast<size_t>(found.pairs); ++i) {
          found.cosines.push_back(values->at(0).f[start + i]);
          found.sines.push_back(values->at(1).f[start + i]);
        }
      }
      return found;
    };
  };
  const auto angles = prove_rotary(graph, tables(cosines, sines), {cosines}, scope);
  REQUIRE(angles);
  CHECK(angles->scale == 1.0);
  CHECK(angles->values.empty());
  CHECK(angles->far_inv_freq.empty());
  REQUIRE(angles->inv_freq.size() == 4);
  CHECK(angles->inv_freq[1] == static_cast<double>(0.1f));
  // Exchanged they are no frequencies, but a table that holds for all positions.
  const auto exchanged = prove_rotary(graph, tables(sines, cosines), {cosines}, scope);
  REQUIRE(exchanged);
  CHECK(exchanged->inv_freq.empty());
  CHECK(static_cast<int64_t>(exchanged->values.size()) == model.context * 8);
}

}  // namespace
}  // namespace pocket
