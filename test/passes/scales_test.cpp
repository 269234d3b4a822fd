// Multipliers, sums and norms that the export spreads over several operators.
#include "converter/passes/rewrites.h"
#include "test/passes/graph_maker.h"
#include "test/support/catch.h"

namespace pocket {
namespace {

using ir::ValueId;
using test::GraphMaker;
using test::tokens;

TEST_CASE("a multiplier behind a linear goes into its weight") {
  GraphMaker g;
  const ValueId x = g.input("x", {1, tokens(), 8});
  const ValueId weight = g.random({8, 6});
  const ValueId y = g.op("Add", {g.op("MatMul", {x, weight}), g.random({6})});
  SECTION("product") { g.output(g.op("Mul", {g.scalar(0.4f), y})); }
  SECTION("quotient") { g.output(g.op("Div", {y, g.scalar(2.5f)})); }
  REQUIRE(g.apply(fuse_linear) == 1);
  CHECK(g.apply(fold_scale) == 1);
  const ir::Node& linear = g.only("Linear");
  CHECK(g.graph.order().size() == 1);
  CHECK(std::get<std::vector<float>>(linear.attributes.at("factors")).front() == Approx(0.4f));
  CHECK(linear.inputs[3] == weight);
}

TEST_CASE("a multiplier behind a shared weight goes into the norm before it") {
  GraphMaker g;
  const ValueId x = g.input("x", {1, tokens(), 8});
  const ValueId weight = g.random({8, 6});
  const ValueId normed =
      g.op("LayerNormalization", {x, g.random({8}), g.random({8})}, {{"axis", int64_t{-1}}});
  g.output(g.op("Mul", {g.op("MatMul", {normed, weight}), g.scalar(0.25f)}));
  g.output(g.op("MatMul", {x, weight}));
  g.apply(fuse_norm);
  g.apply(fuse_linear);
  CHECK(g.apply(fold_scale) == 1);
  CHECK(g.count("Mul") == 0);
  CHECK(g.count("Linear") == 2);
}

TEST_CASE("a multiplier is kept where it cannot go") {
  GraphMaker g;
  const ValueId x = g.input("x", {1, tokens(), 8});
  const ValueId y = g.op("MatMul", {x, g.random({8, 8})});
  SECTION("the unscaled result is read too") {
    g.output(g.op("Add", {g.op("Mul", {y, g.scalar(0.5f)}), y}));
  }
  SECTION("a factor for each token") { g.output(g.op("Mul", {y, g.input("f", {1, tokens(), 1})})); }
  g.apply(fuse_linear);
  CHECK(g.apply(fold_scale) == 0);
  CHECK(g.count("Mul") == 1);
}

TEST_CASE("blocks side by side add to the residual one after the other") {
  GraphMaker g;
  const ValueId x = g.input("x", {1, tokens(), 8});
  const ValueId a = g.op("MatMul", {x, g.random({8, 8})});
  const ValueId b = g.op("MatMul", {x, g.random({8, 8})});
  SECTION("the stream last") { g.output(g.op("Add", {g.op("Add", {a, b}), x})); }
  SECTION("the stream first") { g.output(g.op("Add", {x, g.op("Add", {a, b})})); }
  g.apply(fuse_linear);
  CHECK(g.apply(reorder_sums) == 1);
  CHECK(g.apply(fuse_linear_residual) == 2);
  CHECK(g.count("Add") == 0);
}

TEST_CASE("a bias added behind the residual sum goes into the linear") {
  GraphMaker g;
  const ValueId x = g.input("x", {1, tokens(), 8});
  const ValueId a = g.op("MatMul", {x, g.random({8, 8})});
  g.output(g.op("Add", {g.op("Add", {a, x}), g.random({8})}));
  g.apply(fuse_linear);
  CHECK(g.apply(reorder_sums) == 1);
  CHECK(g.apply(fuse_linear_residual) == 1);
  CHECK(g.graph.order().size() == 1);
}

TEST_CASE("norms of single heads become one norm with a weight for each head") {
  GraphMaker g;
  const ValueId x = g.input("x", {1, 3, tokens(), 8});
  std::vector<ValueId> parts;
  float epsilon = 1e-5f;
  bool joined = true;
  const auto write = [&](int64_t from, int64_t kept) {
    const ValueId head =
        g.op("Slice", {x, g.integers({from}), g.integers({from + 1}), g.integers({1})});
    parts.push_back(g.op("LayerNormalization", {head, g.random({8})},
                         {{"axis", int64_t{-1}}, {"epsilon", kept == 1 ? epsilon : 1e-5f}}));
  };
  SECTION("in order") {
    for (const int64_t h : {0, 1, 2}) write(h, h);
  }
  SECTION("in another order") {
    joined = false;
    for (const int64_t h : {0, 2, 1}) write(h, h);
  }
  SECTION("with another epsilon") {
    joined = false;
    epsilon = 1e-3f;
    for (const int64_t h : {0, 1, 2}) write(h, h);
  }
  g.output(g.op("Concat", parts, {{"axis", int64_t{1}}}));
  g.apply(fuse_norm);
  CHECK(g.apply(join_head_norms) == (joined ? 1 : 0));
  CHECK(g.count("Norm") == (joined ? 1 : 3));
}

}  // namespace
}  // namespace pocket
