// Every operator that has a generic form, alone, over odd sizes: graph by the reference executor ==
// generic operators on the host == on the device, as it is and under every file of test/limits.
#include <functional>

#include "converter/shape/infer.h"
#include "test/lower/generic_run.h"
#include "test/passes/graph_maker.h"
#include "test/support/catch.h"

namespace pocket::test {
namespace {

using ir::ValueId;
using Attributes = std::map<std::string, ir::Attribute>;

const Expr kTokens = Expr::symbol("tokens"), kPast = Expr::symbol("past");
const Expr kTotal = Expr::symbol("past") + Expr::symbol("tokens");

// Inputs that the cases share: odd extents, one that counts the whole sequence.
struct Case {
  GraphMaker& g;
  ValueId x = g.input("x", {1, kTokens, 3, 5});
  ValueId y = g.input("y", {3, 1});
  ValueId scores = g.input("scores", {1, 3, kTokens, kTotal});
  ValueId n = g.input("n", {1, kTokens, 3, 1}, ir::ElementType::i64);
  ValueId flags = g.input("flags", {kTokens, 1, 5}, ir::ElementType::boolean);

  ValueId ints(std::vector<int64_t> values) { return g.integers(std::move(values)); }
  ValueId whole(int64_t value) {
    return g.graph.add_constant("whole", ir::TensorData::from_integers({}, {value}));
  }
};

using Build = std::function<std::vector<ValueId>(Case&)>;

void check(const std::string& name, const Build& build) {
  GraphMaker g;
  g.graph.symbols = {{"tokens", {1, 64}}, {"past", {0, 64}}};
  Case c{g};
  for (const ValueId output : build(c)) g.output(output);
  shape::require_resolved(shape::infer_shapes(g.graph));
  GenericRun run(g.graph);
  uint32_t seed = 0;
  for (const StepSize& step : {StepSize{1, 0}, {1, 7}, {5, 0}, {7, 11}}) {
    CAPTURE(name, step.tokens, step.past);
    const auto expected = run.expected(step, ++seed);
    CHECK(worst_error(expected, run.on_host(step, seed)) < 2e-5);
    CHECK(worst_error(expected, run.on_device(step, seed)) < 2e-5);
  }
  const StepSize odd{7, 11};
  const auto expected = run.expected(odd, ++seed);
  for (LimitedDevice* limited : limited_devices()) {
    CAPTURE(name, limited->name);
    CHECK(worst_error(expected, run.on_device(odd, seed, *limited)) < 2e-5);
  }
}

}  // namespace

TEST_CASE("generic functions of one element equal the graph") {
  for (const char* name : {"Neg", "Abs", "Exp", "Tanh", "Sigmoid", "Erf", "Sin", "Cos", "Floor",
                           "Ceil", "Round", "Sign", "Relu", "Softplus", "Identity", "Reciprocal"}) {
    check(name, [&](Case& c) { return std::vector{c.g.op(name, {c.x})}; });
  }
  check("Sqrt, Log of positive numbers", [](Case& c) {
    const ValueId positive = c.g.op("Add", {c.g.op("Abs", {c.x}), c.g.scalar(0.25f)});
    return std::vector{c.g.op("Sqrt", {positive}), c.g.op("Log", {positive})};
  });
  check("Neg, Abs, Not of integers", [](Case& c) {
    return std::vector{c.g.op("Neg", {c.n}), c.g.op("Abs", {c.g.op("Neg", {c.n})}),
                       c.g.op("Not", {c.flags})};
  });
  check("casts", [](Case& c) {
    const auto to = [](int64_t type) { return Attributes{{"to", type}}; };
    return std::vector{c.g.op("Cast", {c.x}, to(7)), c.g.op("Cast", {c.n}, to(1)),
                       c.g.op("Cast", {c.x}, to(9)), c.g.op("Cast", {c.flags}, to(7))};
  });
  check("composed activations", [](Case& c) {
    return std::vector{c.g.op("Gelu", {c.x}), c.g.op("LeakyRelu", {c.x}), c.g.op("Elu", {c.x}),
                       c.g.op("HardSwish", {c.x})};
  });
}

TEST_CASE("generic functions of two and three operands broadcast as the graph does") {
  for (const char* name : {"Add", "Sub", "Mul", "Min", "Max"}) {
    check(name, [&](Case& c) {
      return std::vector{c.g.op(name, {c.x, c.y}), c.g.op(name, {c.n, c.whole(2)})};
    });
  }
  check("Div, Pow, Mod", [](Case& c) {
    const ValueId safe = c.g.op("Add", {c.g.op("Abs", {c.y}), c.g.scalar(0.5f)});
    const ValueId one = c.whole(1);
    const ValueId positive = c.g.op("Add", {c.n, one});
    return std::vector{c.g.op("Div", {c.x, safe}),
                       c.g.op("Div", {c.whole(7), positive}),
                       c.g.op("Pow", {c.x, c.g.scalar(3.0f)}),
                       c.g.op("Pow", {safe, c.y}),
                       c.g.op("Mod", {c.g.op("Neg", {c.n}), positive}),
                       c.g.op("Mod", {c.n, positive}, {{"fmod", int64_t{1}}})};
  });
  check("comparisons and logic", [](Case& c) {
    const ValueId less = c.g.op("Less", {c.x, c.y});
    return std::vector{less,
                       c.g.op("Greater", {c.x, c.y}),
                       c.g.op("LessOrEqual", {c.n, c.whole(1)}),
                       c.g.op("GreaterOrEqual", {c.x, c.x}),
                       c.g.op("Equal", {c.n, c.whole(1)}),
                       c.g.op("And", {less, c.flags}),
                       c.g.op("Or", {less, c.flags}),
                       c.g.op("Xor", {less, c.flags})};
  });
  check("Where, Clip", [](Case& c) {
    return std::vector{c.g.op("Where", {c.flags, c.x, c.g.scalar(-1e30f)}),
                       c.g.op("Where", {c.g.op("Equal", {c.n, c.whole(0)}), c.n, c.whole(9)}),
                       c.g.op("Clip", {c.x, c.g.scalar(-0.5f), c.g.scalar(0.75f)})};
  });
  check("constant tables", [](Case& c) {
    return std::vector{
        c.g.op("Mul", {c.x, c.g.random({3, 5})}),
        c.g.op("Add", {c.n, c.g.graph.add_constant(
                                "table", ir::TensorData::from_integers({3, 1}, {5, -7, 11}))})};
  });
}

TEST_CASE("generic reductions, softmax and running sums equal the graph") {
  for (const char* name : {"ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin"}) {
    check(name, [&](Case& c) {
      return std::vector{c.g.op(name, {c.scores, c.ints({-1})}),
                         c.g.op(name, {c.x, c.ints({1, 3})}, {{"keepdims", int64_t{0}}})};
    });
  }
  check("other reductions", [](Case& c) {
    return std::vector{c.g.op("ReduceProd", {c.x, c.ints({2})}),
                       c.g.op("ReduceL2", {c.x, c.ints({-1})}),
                       c.g.op("ReduceSumSquare", {c.x, c.ints({-1, -2})}),
                       c.g.op("ArgMax", {c.scores}, {{"axis", int64_t{-1}}}),
                       c.g.op("ArgMin", {c.x}, {{"axis", int64_t{2}}, {"keepdims", int64_t{0}}}),
                       c.g.op("ReduceSum", {c.n, c.ints({1})})};
  });
  check("softmax", [](Case& c) {
    return std::vector{c.g.op("Softmax", {c.scores}, {{"axis", int64_t{-1}}}),
                       c.g.op("Softmax", {c.x}, {{"axis", int64_t{1}}}),
                       c.g.op("LogSoftmax", {c.scores}, {{"axis", int64_t{1}}})};
  });
  check("masked softmax", [](Case& c) {
    const ValueId masked = c.g.op(
        "Where", {c.g.op("Less", {c.scores, c.g.scalar(1.0f)}), c.scores, c.g.scalar(-INFINITY)});
    return std::vector{
        c.g.op("Softmax", {c.g.op("Max", {masked, c.g.scalar(-50.0f)})}, {{"axis", int64_t{-1}}})};
  });
  check("cumsum", [](Case& c) {
    const Attributes both = {{"exclusive", int64_t{1}}, {"reverse", int64_t{1}}};
    return std::vector{c.g.op("CumSum", {c.x, c.whole(3)}),
                       c.g.op("CumSum", {c.scores, c.whole(-1)}, both),
                       c.g.op("CumSum", {c.n, c.whole(1)}),
                       c.g.op("CumSum", {c.x, c.whole(1)}, {{"reverse", int64_t{1}}})};
  });
  check("norms", [](Case& c) {
    return std::vector{c.g.op("LayerNormalization", {c.x, c.g.random({5}), c.g.random({5})},
                              {{"axis", int64_t{-1}}})};
  });
}

TEST_CASE("generic movement equals the graph") {
  check("transpose, reshape", [](Case& c) {
    const ValueId t = c.g.op("Transpose", {c.x}, {{"perm", std::vector<int64_t>{0, 2, 1, 3}}});
    return std::vector{
        t, c.g.op("Reshape", {t, c.ints({3, -1, 5})}),
        c.g.op("Reshape", {c.x, c.ints({1, -1, 15})}), c.g.op("Unsqueeze", {c.y, c.ints({0, 3})}),
        c.g.op("Exp",
               {c.g.op("Transpose", {c.scores}, {{"perm", std::vector<int64_t>{3, 1, 0, 2}}})})};
  });
  check("slice", [](Case& c) {
    const auto slice = [&](ValueId v, int64_t from, int64_t to, int64_t axis, int64_t step) {
      return c.g.op("Slice", {v, c.ints({from}), c.ints({to}), c.ints({axis}), c.ints({step})});
    };
    return std::vector{slice(c.x, 1, 4, 3, 1), slice(c.x, 0, 5, 3, 2), slice(c.x, -2, 99, 2, 1),
                       slice(c.x, -1, -99, 3, -1), c.g.op("Exp", {slice(c.x, 1, 5, 3, 2)})};
  });
  check("split, concat, expand, tile", [](Case& c) {
    ir::Node node;
    node.op = "Split";
    node.name = "/split";
    node.inputs = {c.x, c.ints({2, 3})};
    node.attributes = {{"axis", int64_t{3}}};
    const ir::NodeId id = c.g.graph.add_node(node);
    const ValueId a = c.g.graph.add_output(id, "a", ir::ElementType::undefined);
    const ValueId b = c.g.graph.add_output(id, "b", ir::ElementType::undefined);
    return std::vector{c.g.op("Concat", {b, a, c.x}, {{"axis", int64_t{3}}}),
                       c.g.op("Concat", {c.scores, c.scores}, {{"axis", int64_t{1}}}),
                       c.g.op("Expand", {c.y, c.ints({2, 3, 4})}),
                       c.g.op("Tile", {c.x, c.ints({1, 1, 2, 3})})};
  });
  check("pad, trilu", [](Case& c) {
    return std::vector{c.g.op("Pad", {c.x, c.ints({0, 0, 0, 1, 0, 0, 2, 0}), c.g.scalar(7.0f)}),
                       c.g.op("Trilu", {c.scores}),
                       c.g.op("Trilu", {c.scores, c.whole(1)}, {{"upper", int64_t{0}}}),
                       c.g.op("Trilu", {c.x, c.whole(-1)})};
  });
}

// What fused operators write is half precision, and lies in words where there is no 16-bit storage.
TEST_CASE("generic operators read half precision") {
  check("half precision", [](Case& c) {
    const ValueId x = c.g.input("half", {1, kTokens, 3, 6}, ir::ElementType::f16);
    const ValueId turned = c.g.op("Transpose", {x}, {{"perm", std::vector<int64_t>{0, 1, 3, 2}}});
    const ValueId odd = c.g.op("Slice", {x, c.ints({1}), c.ints({6}), c.ints({3}), c.ints({2})});
    return std::vector{c.g.op("Neg", {x}),
                       c.g.op("Exp", {odd}),
                       c.g.op("Softmax", {turned}, {{"axis", int64_t{-1}}}),
                       c.g.op("ReduceMean", {x, c.ints({1, 3})}),
                       c.g.op("ArgMax", {turned}, {{"axis", int64_t{-1}}}),
                       c.g.op("MatMul", {x, turned}),
                       c.g.op("Gather", {x, c.n}, {{"axis", int64_t{3}}})};
  });
}

TEST_CASE("generic reads and writes by index equal the graph") {
  check("gather", [](Case& c) {
    return std::vector{c.g.op("Gather", {c.x, c.n}, {{"axis", int64_t{2}}}),
                       c.g.op("Gather", {c.x, c.whole(-1)}, {{"axis", int64_t{3}}}),
                       c.g.op("Gather", {c.g.random({4, 3}), c.n}),
                       c.g.op("Gather", {c.x, c.ints({2, 0, -1})}, {{"axis", int64_t{3}}})};
  });
  check("gather elements", [](Case& c) {
    return std::vector{c.g.op("GatherElements", {c.x, c.n}, {{"axis", int64_t{3}}})};
  });
  check("gather nd", [](Case& c) {
    const ValueId rows = c.g.op("Concat", {c.n, c.n}, {{"axis", int64_t{3}}});
    return std::vector{c.g.op("GatherND", {c.g.random({3, 4, 2}), rows})};
  });
  check("scatter", [](Case& c) {
    const ValueId index =
        c.g.graph.add_constant("index", ir::TensorData::from_integers({2, 2}, {2, 0, 0, 1}));
    const ValueId data = c.g.op("Mul", {c.y, c.g.random({3, 2})});
    return std::vector{
        c.g.op("ScatterND", {data, index, c.g.random({2})}),
        c.g.op("ScatterElements", {data, index, c.g.random({2, 2})}, {{"axis", int64_t{0}}})};
  });
  check("one hot", [](Case& c) {
    return std::vector{c.g.op("OneHot", {c.n, c.whole(4), c.g.constant({2}, {0.5f, 3.0f})})};
  });
}

TEST_CASE("generic products equal the graph") {
  check("matmul", [](Case& c) {
    const ValueId right = c.g.op("Transpose", {c.x}, {{"perm", std::vector<int64_t>{0, 2, 3, 1}}});
    const ValueId left = c.g.op("Transpose", {c.x}, {{"perm", std::vector<int64_t>{0, 2, 1, 3}}});
    const ValueId grown =
        c.g.op("Transpose", {c.scores}, {{"perm", std::vector<int64_t>{0, 1, 3, 2}}});
    return std::vector{c.g.op("MatMul", {left, right}), c.g.op("MatMul", {c.scores, grown}),
                       c.g.op("MatMul", {c.x, c.g.random({5, 2})}),
                       c.g.op("MatMul", {c.x, c.g.random({5})})};
  });
  check("einsum, gemm", [](Case& c) {
    const ValueId rows = c.g.op("Reshape", {c.x, c.ints({-1, 15})});
    return std::vector{c.g.op("Einsum", {c.x, c.x}, {{"equation", std::string("btij,bsij->tis")}}),
                       c.g.op("Gemm", {rows, c.g.random({4, 15}), c.g.random({4})},
                              {{"transB", int64_t{1}}, {"alpha", 0.5f}, {"beta", 2.0f}})};
  });
}

}  // namespace pocket::test
