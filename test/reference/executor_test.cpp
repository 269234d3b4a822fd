// The executor: feeds, symbols, symbolic constants, evaluation of a part, freed values.
#include "converter/reference/executor.h"

#include "runtime/base/error.h"
#include "test/support/catch.h"

using namespace pocket;
using reference::HostTensor;

namespace {

// x [tokens, 2] -> Neg -> Reshape to [2 * tokens] -> Abs
struct Example {
  ir::Graph graph;
  ir::ValueId x = 0, negated = 0, flat = 0, result = 0;

  Example() {
    const Expr tokens = Expr::symbol("tokens");
    ir::Value input;
    input.name = "x";
    input.type = ir::ElementType::f32;
    input.shape = std::vector<Expr>{tokens, 2};
    x = graph.add_value(input);
    graph.inputs = {x};
    ir::Value shape;
    shape.name = "shape";
    shape.type = ir::ElementType::i64;
    shape.shape = std::vector<Expr>{1};
    shape.elements = std::vector<Expr>{tokens * Expr(2)};
    const ir::ValueId target = graph.add_value(shape);
    negated = append("Neg", {x});
    flat = append("Reshape", {negated, target});
    result = append("Abs", {flat});
    graph.outputs = {result};
    graph.symbols["tokens"] = {1, 64};
  }

  ir::ValueId append(const std::string& op, std::vector<ir::ValueId> inputs) {
    ir::Node node;
    node.op = op;
    node.name = op;
    node.inputs = std::move(inputs);
    return graph.add_output(graph.add_node(node), op + "_out", ir::ElementType::f32);
  }
};

const HostTensor kRows = HostTensor::floats({2, 2}, {1, -2, 3, -4});

}  // namespace

TEST_CASE("a graph with symbolic constants runs for the bindings of its feeds") {
  const Example e;
  e.graph.verify();
  const auto out = reference::run(e.graph, {{e.x, kRows}});
  REQUIRE(out.size() == 1);
  CHECK(out.at(e.result).shape == reference::Shape{4});
  CHECK(out.at(e.result).f == std::vector<float>{1, 2, 3, 4});
}

TEST_CASE("evaluate computes only what the wanted values depend on") {
  const Example e;
  int computed = 0;
  reference::RunOptions options;
  options.observer = [&](const ir::Node&, ir::ValueId, const HostTensor&) { ++computed; };
  const auto out = reference::evaluate(e.graph, {{e.x, kRows}}, {e.negated}, options);
  CHECK(computed == 1);
  CHECK(out.at(e.negated).f == std::vector<float>{-1, 2, -3, 4});
  computed = 0;  // a value in the middle may be fed: what stands before it is not needed
  const auto rest = reference::evaluate(e.graph, {{e.flat, HostTensor::floats({2}, {-5, 6})}},
                                        {e.result}, options);
  CHECK(computed == 1);
  CHECK(rest.at(e.result).f == std::vector<float>{5, 6});
}

TEST_CASE("kept values come back, others are freed") {
  const Example e;
  reference::RunOptions options;
  options.keep = {e.negated};
  const auto out = reference::run(e.graph, {{e.x, kRows}}, options);
  CHECK(out.size() == 2);
  CHECK(out.at(e.negated).f == std::vector<float>{-1, 2, -3, 4});
}

TEST_CASE("missing and contradicting feeds are refused by name") {
  const Example e;
  CHECK_THROWS_WITH(reference::run(e.graph, {}),
                    Catch::Contains("\"x\"") || Catch::Contains("tokens"));
  CHECK_THROWS_WITH(reference::run(e.graph, {{e.x, HostTensor::floats({2}, {1, 2})}}),
                    Catch::Contains("\"x\""));
  CHECK_THROWS_WITH(reference::run(e.graph, {{e.x, HostTensor::floats({1, 3}, {1, 2, 3})}}),
                    Catch::Contains("[tokens, 2]") && Catch::Contains("[1, 3]"));
}

TEST_CASE("an operator without a function is refused by name") {
  Example e;
  e.graph.outputs = {e.append("Mystery", {e.x})};
  CHECK_THROWS_WITH(reference::run(e.graph, {{e.x, kRows}}), Catch::Contains("Mystery"));
}
