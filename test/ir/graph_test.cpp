#include "converter/ir/graph.h"

#include <algorithm>
#include <set>

#include "converter/ir/operators.h"
#include "runtime/base/error.h"
#include "test/support/catch.h"

using namespace pocket;
using ir::ValueId;

namespace {

// in -> Neg "a" -> Abs "b" -> output, and Exp "side" that nobody reads
struct Chain {
  ir::Graph graph;
  ValueId in = 0, a = 0, b = 0, side = 0;

  Chain() {
    ir::Value input;
    input.name = "in";
    input.type = ir::ElementType::f32;
    input.shape = std::vector<Expr>{1, Expr::symbol("tokens")};
    in = graph.add_value(input);
    graph.inputs = {in};
    a = append("Neg", {in}, "a");
    b = append("Abs", {a}, "b");
    side = append("Exp", {a}, "side");
    graph.outputs = {b};
  }

  ValueId append(const std::string& op, std::vector<ValueId> inputs, const std::string& name) {
    ir::Node node;
    node.op = op;
    node.name = name;
    node.inputs = std::move(inputs);
    return graph.add_output(graph.add_node(node), name, ir::ElementType::f32);
  }
};

std::vector<std::string> names(const ir::Graph& graph) {
  std::vector<std::string> out;
  for (const ir::NodeId id : graph.order()) out.push_back(graph.node(id).name);
  return out;
}

}  // namespace

TEST_CASE("dead nodes go, read ones stay") {
  Chain c;
  CHECK(c.graph.remove_dead() == 1);
  CHECK(names(c.graph) == std::vector<std::string>{"a", "b"});
  CHECK(c.graph.remove_dead() == 0);
  c.graph.verify();
}

TEST_CASE("a node may be created after its reader and is sorted before it") {
  Chain c;
  const ValueId late = c.append("Tanh", {c.a}, "late");
  ir::Node& reader = c.graph.node(c.graph.value(c.b).producer);
  reader.inputs[0] = late;
  c.graph.remove_dead();
  CHECK(names(c.graph) == std::vector<std::string>{"a", "late", "b"});
  c.graph.verify();
}

TEST_CASE("replace_uses reaches nodes, outputs and states") {
  Chain c;
  c.graph.states.push_back({c.in, c.b});
  c.graph.replace_uses(c.b, c.a);
  CHECK(c.graph.outputs[0] == c.a);
  CHECK(c.graph.states[0].present == c.a);
  CHECK(c.graph.consumers(c.a).size() == 2);
  CHECK(c.graph.consumers(c.b).empty());
}

TEST_CASE("an erased node's outputs can be produced by another") {
  Chain c;
  c.graph.erase(c.graph.value(c.b).producer);
  CHECK_THROWS_AS(c.graph.verify(), Error);
  ir::Node node;
  node.op = "Relu";
  node.name = "other";
  node.inputs = {c.a};
  node.outputs = {c.b};
  const ir::NodeId id = c.graph.add_node(node);
  CHECK(c.graph.value(c.b).producer == id);
  c.graph.verify();
  CHECK_THROWS_WITH(c.graph.add_node(node), Catch::Contains("twice"));
}

TEST_CASE("names are unique") {
  Chain c;
  const ValueId again = c.append("Neg", {c.in}, "a");
  CHECK(c.graph.value(again).name == "a_1");
  CHECK(c.graph.find("a_1") == again);
  CHECK(c.graph.find("nothing") == ir::kAbsent);
}

TEST_CASE("the verifier finds cycles, unknown ids, lost producers and wrong arity") {
  SECTION("cycle") {
    Chain c;
    c.graph.node(c.graph.value(c.a).producer).inputs[0] = c.b;
    CHECK_THROWS_WITH(c.graph.verify(), Catch::Contains("cycle"));
  }
  SECTION("unknown id") {
    Chain c;
    c.graph.node(0).inputs[0] = 99;
    CHECK_THROWS_AS(c.graph.verify(), Error);
  }
  SECTION("value that nothing makes") {
    Chain c;
    c.graph.value(c.graph.add_value({}));
    c.graph.node(0).inputs[0] = c.graph.find("value");
    CHECK_THROWS_WITH(c.graph.verify(), Catch::Contains("0 producers"));
  }
  SECTION("arity") {
    Chain c;
    c.graph.node(0).inputs.push_back(c.in);
    CHECK_THROWS_WITH(c.graph.verify(), Catch::Contains("2 inputs"));
  }
  SECTION("a constant that is also computed") {
    Chain c;
    c.graph.value(c.a).constant = ir::TensorData::from_floats({}, {1.0f});
    CHECK_THROWS_WITH(c.graph.verify(), Catch::Contains("2 producers"));
  }
}

TEST_CASE("the text names every node with its shapes") {
  Chain c;
  c.graph.value(c.b).shape = std::vector<Expr>{1, Expr::symbol("tokens")};
  c.graph.symbols["tokens"] = {1, 9};
  const std::string text = c.graph.to_text();
  CHECK_THAT(text, Catch::Contains("symbol tokens in 1..9"));
  CHECK_THAT(text, Catch::Contains("node %b f32 [1, tokens] <- Abs(%a)"));
}

TEST_CASE("a very long chain is sorted without deep recursion") {
  Chain c;
  ValueId last = c.b;
  for (int k = 0; k < 50000; ++k) last = c.append("Neg", {last}, "n");
  c.graph.outputs = {last};
  CHECK(c.graph.order().size() == 50003);
}

TEST_CASE("attributes of the wrong kind are refused") {
  ir::Node node;
  node.op = "Test";
  node.attributes["axis"] = std::string("x");
  CHECK_THROWS_AS(node.integer("axis", 0), Error);
  CHECK_THROWS_AS(node.integers("axis"), Error);
  CHECK_THROWS_AS(node.real("axis", 0.0f), Error);
  CHECK(node.text("axis", "") == "x");
  CHECK(node.integer("other", 7) == 7);
}

TEST_CASE("the table has each operator once") {
  std::set<std::pair<std::string, std::string>> seen;
  for (const ir::OperatorInfo& row : ir::operators()) {
    CHECK(seen.emplace(row.domain, row.op).second);
    CHECK(ir::find_operator(row.domain, row.op) == &row);
  }
  CHECK(ir::find_operator("", "Loop") == nullptr);
  CHECK(ir::find_operator("com.microsoft", "Add") == nullptr);
}
