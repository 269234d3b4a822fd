// Symbolic shapes: rules against onnx's node tests, folding of shape arithmetic, refusals.
#include "converter/shape/infer.h"

#include "converter/ir/operators.h"
#include "converter/shape/rule.h"
#include "runtime/base/error.h"
#include "test/reference/onnx_cases.h"
#include "test/support/catch.h"

using namespace pocket;
using ir::ElementType;
using ir::ValueId;

namespace {

const Expr kTokens = Expr::symbol("tokens"), kPast = Expr::symbol("past");

class Builder {
 public:
  Builder() {
    graph.opset = 18;
    graph.symbols = {{"tokens", {1, 100}}, {"past", {0, 100}}};
  }

  ValueId input(const std::string& name, std::vector<Expr> shape,
                ElementType type = ElementType::f32) {
    ir::Value value;
    value.name = name;
    value.type = type;
    value.shape = std::move(shape);
    graph.inputs.push_back(graph.add_value(value));
    return graph.inputs.back();
  }

  ValueId integers(std::vector<int64_t> values) {
    const auto count = static_cast<int64_t>(values.size());
    return graph.add_constant("c", ir::TensorData::from_integers({count}, std::move(values)));
  }

  ValueId scalar(int64_t value) {
    return graph.add_constant("c", ir::TensorData::from_integers({}, {value}));
  }

  ValueId node(const std::string& op, std::vector<ValueId> inputs,
               std::map<std::string, ir::Attribute> attributes = {}) {
    ir::Node made;
    made.op = op;
    made.name = op + std::to_string(graph.node_count());
    made.inputs = std::move(inputs);
    made.attributes = std::move(attributes);
    return graph.add_output(graph.add_node(made), made.name, ElementType::undefined);
  }

  // Shape(x)[axis] as the exporters write it: a vector of one element.
  ValueId dimension(ValueId x, int64_t axis) {
    const ValueId size = node("Gather", {node("Shape", {x}), scalar(axis)}, {{"axis", int64_t{0}}});
    return node("Unsqueeze", {size, integers({0})});
  }

  std::string shape_of(ValueId result) {
    graph.outputs = {result};
    report = shape::infer_shapes(graph);
    const ir::Value& value = graph.value(result);
    return value.shape ? ir::shape_text(*value.shape) : "unknown";
  }

  ir::Graph graph;
  shape::InferReport report;
};

}  // namespace

TEST_CASE("every row of the table has a shape rule") {
  for (const ir::OperatorInfo& row : ir::operators()) {
    INFO(row.domain << "." << row.op);
    CHECK(shape::shape_rules().contains({row.domain, row.op}));
  }
}

TEST_CASE("shape rules equal the shapes and types of onnx's node tests") {
  int compared = 0;
  for (const test::OnnxCase& c : test::read_onnx_cases()) {
    if (c.node.text("equation", "").find("...") != std::string::npos) continue;
    INFO(c.name);
    reference::Feeds feeds;
    // Inputs of integers behind the first decide shapes: they are constant in every export.
    const bool counts =
        c.node.op == "Range" || c.node.op == "ConstantOfShape" || c.node.op == "NonZero";
    ir::Graph graph = test::graph_of(c, feeds, [&](size_t k) {
      const bool depth = c.node.op == "OneHot" && k == 1;
      return counts || depth || (k > 0 && c.inputs[k]->is_integer());
    });
    if (graph.inputs.empty()) continue;  // folded whole: the next test case
    const shape::InferReport report = shape::infer_shapes(graph);
    CHECK(report.unresolved.empty());
    size_t made = 0;
    for (size_t k = 0; k < c.outputs.size(); ++k) {
      if (!c.outputs[k]) continue;
      const ir::Value& value = graph.value(graph.outputs[made++]);
      REQUIRE(value.shape);
      CHECK(*value.shape ==
            std::vector<Expr>(c.outputs[k]->shape.begin(), c.outputs[k]->shape.end()));
      CHECK(value.type == c.outputs[k]->type);
      ++compared;
    }
  }
  CHECK(compared > 300);
}

TEST_CASE("an operator on constants becomes their result") {
  int folded = 0;
  for (const test::OnnxCase& c : test::read_onnx_cases()) {
    if (c.node.text("equation", "").find("...") != std::string::npos) continue;
    INFO(c.name);
    reference::Feeds feeds;
    ir::Graph graph = test::graph_of(c, feeds, [](size_t) { return true; });
    const shape::InferReport report = shape::infer_shapes(graph);
    REQUIRE(report.nodes_after == 0);
    size_t made = 0;
    for (size_t k = 0; k < c.outputs.size(); ++k) {
      if (!c.outputs[k]) continue;
      const ir::Value& value = graph.value(graph.outputs[made++]);
      REQUIRE(value.constant);
      CHECK(value.constant->type == c.outputs[k]->type);
      CHECK(reference::HostTensor::from(*value.constant).i == c.outputs[k]->i);
      ++folded;
    }
  }
  CHECK(folded > 300);
}

TEST_CASE("a reshape by the input's own dimensions is followed in symbols") {
  Builder b;
  const ValueId x = b.input("x", {1, kTokens, 48});
  const ValueId target =
      b.node("Concat", {b.dimension(x, 0), b.dimension(x, 1), b.integers({6, -1})},
             {{"axis", int64_t{0}}});
  const ValueId y = b.node("Reshape", {x, target});
  CHECK(b.shape_of(y) == "[1, tokens, 6, 8]");
  CHECK(b.report.nodes_after == 1);  // the shape arithmetic is gone
  CHECK(b.graph.value(target).elements == std::vector<Expr>{Expr(1), kTokens, Expr(6), Expr(-1)});
}

TEST_CASE("the exporters' Where(Equal(shape, -1), ...) in front of Expand is decided by ranges") {
  Builder b;
  const ValueId x = b.input("x", {1, 2, 1, kTokens, 8});
  const ValueId wanted =
      b.node("Concat", {b.integers({1, 2, 3}), b.dimension(x, 3), b.integers({8})},
             {{"axis", int64_t{0}}});
  const ValueId minus = b.integers({-1, -1, -1, -1, -1}), ones = b.integers({1, 1, 1, 1, 1});
  const ValueId chosen = b.node("Where", {b.node("Equal", {wanted, minus}), ones, wanted});
  CHECK(b.shape_of(b.node("Expand", {x, chosen})) == "[1, 2, 3, tokens, 8]");
  CHECK(b.report.nodes_after == 1);
}

TEST_CASE("numbers at the limits of int64 are compared without overflow") {
  Builder b;
  const ValueId most = b.integers({INT64_MAX, INT64_MIN, 0});
  const ValueId equal = b.node("Equal", {most, b.integers({INT64_MAX, INT64_MAX, 0})});
  CHECK(b.shape_of(equal) == "[3]");
  CHECK(b.graph.value(equal).constant->as_integers() == std::vector<int64_t>{1, 0, 1});
}

TEST_CASE("ranges and slices of symbols get their length by proof") {
  Builder b;
  const ValueId past = b.input("past", {1, 2, kPast, 8});
  const ValueId x = b.input("x", {1, 2, kTokens, 8});
  const ValueId all = b.node("Concat", {past, x}, {{"axis", int64_t{-2}}});
  const ValueId p = b.dimension(past, 2), n = b.dimension(all, 2);
  const ValueId tail = b.node("Slice", {all, p, n, b.integers({2})});
  CHECK(b.shape_of(tail) == "[1, 2, tokens, 8]");

  Builder c;
  const ValueId mask = c.input("mask", {1, kPast + kTokens}, ElementType::i64);
  const ValueId total = c.node("Gather", {c.node("Shape", {mask}), c.scalar(1)});
  CHECK(c.shape_of(c.node("Range", {c.scalar(0), total, c.scalar(1)})) == "[past + tokens]");
  Builder d;
  const ValueId y = d.input("y", {kPast + kTokens, 4});
  const ValueId last =
      d.node("Slice", {y, d.integers({-1}), d.integers({INT64_MAX}), d.integers({0})});
  CHECK(d.shape_of(last) == "[1, 4]");
}

TEST_CASE("arithmetic on sizes keeps symbols") {
  Builder b;
  const ValueId x = b.input("x", {1, kTokens, 48});
  const ValueId n = b.dimension(x, 1), w = b.dimension(x, 2);
  const ValueId half = b.node("Div", {b.node("Mul", {n, w}), b.integers({2})});
  const ValueId target = b.node("Concat", {half, b.integers({2})}, {{"axis", int64_t{0}}});
  CHECK(b.shape_of(b.node("Reshape", {x, target})) == "[24*tokens, 2]");
  const ValueId odd = b.node("Div", {n, b.integers({2})});
  CHECK(b.shape_of(b.node("ConstantOfShape", {odd})) ==
        "[" + Expr::floordiv(kTokens, 2).str() + "]");
}

TEST_CASE("a float scale computed from a size becomes a constant") {
  Builder b;
  const ValueId x = b.input("x", {1, kTokens, 16});
  const ValueId size = b.node("Cast", {b.dimension(x, 2)}, {{"to", int64_t{1}}});
  const ValueId y = b.node("Div", {x, b.node("Sqrt", {size})});
  b.shape_of(y);
  CHECK(b.report.nodes_after == 1);
  const ir::Node* divide = b.graph.producer(y);
  REQUIRE(divide != nullptr);
  REQUIRE(b.graph.value(divide->inputs[1]).constant);
  CHECK(b.graph.value(divide->inputs[1]).constant->as_floats() == std::vector<float>{4.0f});
}

TEST_CASE("large results and weights are not materialised") {
  Builder b;
  const ValueId huge = b.node("ConstantOfShape", {b.integers({100000, 100000})});
  CHECK(b.shape_of(huge) == "[100000, 100000]");
  CHECK(b.report.nodes_after == 1);

  Builder c;
  const ValueId weight =
      c.graph.add_constant("w", ir::TensorData::from_floats({64, 32}, std::vector<float>(2048)));
  CHECK(c.shape_of(c.node("Transpose", {weight})) == "[32, 64]");
  CHECK(c.report.nodes_after == 1);
}

TEST_CASE("what nothing proves is reported, not guessed") {
  Builder b;
  const ValueId x = b.input("x", {1, kTokens});
  const ValueId y = b.input("y", {1, kPast + kTokens});
  const ValueId sum = b.node("Add", {x, y});
  CHECK(b.shape_of(b.node("Neg", {sum})) == "unknown");
  REQUIRE(b.report.unresolved.size() == 2);
  CHECK_THAT(b.report.unresolved[0], Catch::Contains("past + tokens") && Catch::Contains("Add"));
  CHECK_THROWS_WITH(shape::require_resolved(b.report), Catch::Contains("2 tensors"));

  Builder c;  // the length depends on the contents of an input
  const ValueId n = c.input("n", {1}, ElementType::i64);
  CHECK(c.shape_of(c.node("ConstantOfShape", {n})) == "unknown");
  CHECK(c.report.unresolved.size() == 1);
}

TEST_CASE("impossible shapes are refused with the node's name") {
  const auto refused = [](auto build) {
    Builder b;
    CHECK_THROWS_AS(b.shape_of(build(b)), Error);
  };
  refused([](Builder& b) { return b.node("Add", {b.input("x", {2}), b.input("y", {3})}); });
  refused([](Builder& b) {
    return b.node("MatMul", {b.input("x", {2, 3}), b.input("y", {2, 3})});
  });
  refused([](Builder& b) { return b.node("Reshape", {b.input("x", {6}), b.integers({4})}); });
  refused([](Builder& b) { return b.node("Reshape", {b.input("x", {6}), b.integers({4, -1})}); });
  refused([](Builder& b) {
    return b.node("Transpose", {b.input("x", {6})}, {{"perm", std::vector<int64_t>{1, 0}}});
  });
  refused([](Builder& b) { return b.node("Squeeze", {b.input("x", {6}), b.integers({0})}); });
  refused([](Builder& b) { return b.node("Div", {b.integers({1}), b.integers({0})}); });
}

TEST_CASE("shapes_text lists every tensor in symbols") {
  Builder b;
  const ValueId x = b.input("x", {1, kTokens});
  b.shape_of(b.node("Neg", {b.node("Abs", {x})}));
  const std::string text = shape::shapes_text(b.graph);
  CHECK_THAT(text, Catch::Contains("symbol tokens 1..100\n"));
  CHECK_THAT(text, Catch::Contains("input x f32 [1, tokens]\n"));
  CHECK_THAT(text, Catch::Contains("tensor Abs0 f32 [1, tokens]\n"));
  CHECK_THAT(text, Catch::Contains("output Neg1 f32 [1, tokens]\n"));
}
