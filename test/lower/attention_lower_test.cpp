// Decoders of one layer whose attention has everything that a program can express: the lowered
// program computes what the fused graph computes, whole and step by step.
#include <cmath>
#include <functional>
#include <random>

#include "converter/lower/lower.h"
#include "converter/reference/executor.h"
#include "test/lower/program_interpreter.h"
#include "test/support/catch.h"

namespace pocket {
namespace {

using ir::Graph;
using ir::kAbsent;
using ir::Node;
using ir::ValueId;

constexpr int64_t kHeads = 4, kKvHeads = 2, kDim = 6, kWidth = 8, kVocab = 11;

class DecoderMaker {
 public:
  ValueId random(const std::string& name, std::vector<int64_t> shape) {
    int64_t count = 1;
    for (const int64_t dim : shape) count *= dim;
    std::vector<float> values(static_cast<size_t>(count));
    for (float& value : values) value = static_cast<float>(generator_() % 2001) / 1000.0f - 1.0f;
    return graph.add_constant(name, ir::TensorData::from_floats(std::move(shape), values));
  }

  ValueId add(const std::string& op, std::vector<ValueId> inputs, std::vector<Expr> shape,
              std::map<std::string, ir::Attribute> attributes = {}) {
    Node node;
    node.name = "/layers.0/" + op + std::to_string(graph.node_count());
    node.domain = "pocket";
    node.op = op;
    node.inputs = std::move(inputs);
    node.attributes = std::move(attributes);
    last_ = graph.add_node(std::move(node));
    return more(std::move(shape));
  }
  // Another output of the last node.
  ValueId more(std::vector<Expr> shape) {
    const ValueId out = graph.add_output(last_, "value", ir::ElementType::f32);
    graph.value(out).shape = std::move(shape);
    return out;
  }

  ValueId input(const std::string& name, ir::ElementType type, std::vector<Expr> shape) {
    ir::Value value;
    value.name = name;
    value.type = type;
    value.shape = std::move(shape);
    graph.inputs.push_back(graph.add_value(std::move(value)));
    return graph.inputs.back();
  }

  ValueId linear(ValueId x, ValueId residual, int64_t columns, int64_t rows, float factor) {
    return add("Linear", {x, kAbsent, residual, random("weight", {rows, columns})},
               {Expr(1), tokens_, Expr(rows)},
               {{"transposed", std::vector<int64_t>{0}},
                {"first_row", std::vector<int64_t>{0}},
                {"rows", std::vector<int64_t>{rows}},
                {"factors", std::vector<float>{factor}},
                {"activation", std::string("none")}});
  }

  // `change` completes the inputs and attributes of the attention.
  void write(const std::function<void(DecoderMaker&, Node&)>& change) {
    const ValueId ids = input("input_ids", ir::ElementType::i64, {Expr(1), tokens_});
    const std::vector<Expr> past{Expr(1), Expr(kKvHeads), Expr::symbol("past"), Expr(kDim)};
    const ValueId past_k = input("past_key_values.0.key", ir::ElementType::f32, past);
    const ValueId past_v = input("past_key_values.0.value", ir::ElementType::f32, past);
    const std::vector<Expr> stream{Expr(1), tokens_, Expr(kWidth)};
    const ValueId x = add("Embed", {ids, random("table", {kVocab, kWidth}), kAbsent, kAbsent},
                          stream, {{"scale", 1.5f}, {"position_offset", int64_t{0}}});
    const ValueId rows = linear(x, kAbsent, kWidth, (kHeads + 2 * kKvHeads) * kDim, 0.5f);
    const ValueId mixed =
        add("Attention",
            {rows, rows, rows, past_k, past_v, kAbsent, kAbsent, kAbsent, kAbsent, kAbsent},
            {Expr(1), tokens_, Expr(kHeads * kDim)},
            {{"heads", kHeads},
             {"kv_heads", kKvHeads},
             {"head_dim", kDim},
             {"q_column", int64_t{0}},
             {"k_column", kHeads * kDim},
             {"v_column", (kHeads + kKvHeads) * kDim},
             {"scale", 0.6f}});
    std::vector<Expr> present = past;
    present[2] = present[2] + tokens_;
    const ValueId keys = more(present), values = more(present);
    change(*this, graph.node(last_));
    const ValueId sum = linear(mixed, x, kHeads * kDim, kWidth, 1.0f);
    const ValueId selected = add("SelectRows", {sum}, stream);
    const ValueId logits = linear(selected, kAbsent, kWidth, kVocab, 1.0f);
    graph.outputs = {logits, keys, values};
    graph.states = {{past_k, keys}, {past_v, values}};
    graph.symbols = {{"tokens", {1, 32}}, {"past", {0, 31}}};
  }

  Graph graph;

 private:
  const Expr tokens_ = Expr::symbol("tokens");
  std::mt19937 generator_{7};
  ir::NodeId last_ = kAbsent;
};

void rotate(DecoderMaker& maker, Node& node, int64_t rotary_dim) {
  node.attributes["rotary_dim"] = rotary_dim;
  node.attributes["rotary_scale"] = 1.25f;
  node.inputs[5] = maker.random("inv_freq", {rotary_dim / 2});
}

TEST_CASE("everything an attention may have is lowered as it stands") {
  std::function<void(DecoderMaker&, Node&)> change;
  SECTION("a window and a soft cap") {
    change = [](DecoderMaker&, Node& node) {
      node.attributes["window"] = int64_t{3};
      node.attributes["soft_cap"] = 0.8f;
    };
  }
  SECTION("slopes") {
    change = [](DecoderMaker& maker, Node& node) {
      node.inputs[7] = maker.random("slopes", {kHeads});
    };
  }
  SECTION("a centred norm for each head, then a partial rotation of pairs") {
    change = [](DecoderMaker& maker, Node& node) {
      node.inputs[8] = maker.random("q_norm", {kHeads * kDim});
      node.inputs[9] = maker.random("k_norm", {kKvHeads * kDim});
      node.attributes["norm"] = std::string("layer");
      node.attributes["epsilon"] = 1e-3f;
      node.attributes["interleaved"] = int64_t{1};
      rotate(maker, node, 4);
    };
  }
  SECTION("one norm for all heads of the keys") {
    change = [](DecoderMaker& maker, Node& node) {
      node.inputs[9] = maker.random("k_norm", {kDim});
      node.attributes["norm"] = std::string("rms");
    };
  }
  SECTION("a table instead of frequencies") {
    change = [](DecoderMaker& maker, Node& node) {
      rotate(maker, node, 6);
      node.inputs[5] = maker.random("table", {32, 6});
    };
  }
  DecoderMaker maker;
  maker.write(change);
  maker.graph.verify();
  const std::vector<int64_t> ids{1, 5, 9, 2, 7, 3, 10, 4};
  const auto expected = reference::logits(maker.graph, ids);
  const Lowered lowered = lower(maker.graph, {32, 0, 0});
  CHECK(lowered.unfused.empty());
  test::ProgramInterpreter interpreter(lowered, 16);
  std::vector<float> actual = interpreter.step({1, 5, 9, 2, 7}, 5);
  for (const int64_t id : {3, 10, 4}) {
    const std::vector<float> row = interpreter.step({id}, 1);
    actual.insert(actual.end(), row.begin(), row.end());
  }
  REQUIRE(actual.size() == expected.f.size());
  double difference = 0, size = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    difference += std::pow(static_cast<double>(actual[i] - expected.f[i]), 2);
    size += std::pow(static_cast<double>(expected.f[i]), 2);
  }
  CHECK(std::sqrt(difference / size) <= 1e-5);
}

TEST_CASE("angles that change with the length have both lists in the program") {
  DecoderMaker maker;
  maker.write([](DecoderMaker& m, Node& node) {
    rotate(m, node, 6);
    node.inputs[6] = m.random("far", {3});
    node.attributes["far_scale"] = 2.0f;
    node.attributes["far_from"] = int64_t{17};
  });
  const Lowered lowered = lower(maker.graph, {32, 0, 0});
  REQUIRE(lowered.program.rope_tables.size() == 1);
  const RopeTable& table = lowered.program.rope_tables.front();
  CHECK(table.inv_freq.size() == 3);
  CHECK(table.long_inv_freq.size() == 3);
  CHECK(table.scale == 1.25);
  CHECK(table.long_scale == 2.0);
  CHECK(table.long_from == 17);
}

}  // namespace
}  // namespace pocket
