#include "converter/passes/rewrites.h"
#include "test/passes/graph_maker.h"
#include "test/support/catch.h"

namespace pocket {
namespace {

using ir::ValueId;
using test::GraphMaker;
using test::tokens;

constexpr int64_t kWidth = 6;

// The ways to write a norm, and the ways to miss it.
struct NormForm {
  int64_t mean_axis = -1;
  bool epsilon = true;         // added at all
  bool epsilon_inside = true;  // of the root
  bool divide = false;         // x / root instead of x * (1 / root)
  bool power = true;           // Pow(x, 2) instead of Mul(x, x)
  bool centred = false;
  int64_t keepdims = 1;
  bool other_numerator = false;
};

ValueId write_norm(GraphMaker& g, ValueId input, const NormForm& form) {
  ValueId x = input;
  if (form.centred) {
    const ValueId mean = g.op("ReduceMean", {x, g.integers({-1})}, {{"keepdims", int64_t{1}}});
    x = g.op("Sub", {x, mean});
  }
  const ValueId square = form.power ? g.op("Pow", {x, g.scalar(2)}) : g.op("Mul", {x, x});
  ValueId mean =
      g.op("ReduceMean", {square, g.integers({form.mean_axis})}, {{"keepdims", form.keepdims}});
  if (form.epsilon_inside && form.epsilon) mean = g.op("Add", {mean, g.scalar(1e-3f)});
  ValueId root = g.op("Sqrt", {mean});
  if (!form.epsilon_inside && form.epsilon) root = g.op("Add", {root, g.scalar(1e-3f)});
  const ValueId numerator = form.other_numerator ? g.op("Neg", {x}) : x;
  const ValueId normed = form.divide ? g.op("Div", {numerator, root})
                                     : g.op("Mul", {numerator, g.op("Div", {g.scalar(1), root})});
  return g.op("Mul", {g.random({kWidth}), normed});
}

TEST_CASE("norms are recognised however they are written") {
  GraphMaker g;
  const ValueId x = g.input("x", {1, tokens(), kWidth});
  SECTION("rms as a product") {
    g.output(write_norm(g, x, {}));
    REQUIRE(g.apply(fuse_norm) == 1);
    CHECK(g.only("Norm").text("kind", "") == "rms");
    CHECK(g.only("Norm").real("epsilon", 0) == 1e-3f);
    CHECK(g.graph.order().size() == 1);
  }
  SECTION("rms as a quotient of a square") {
    g.output(write_norm(g, x, {.divide = true, .power = false}));
    CHECK(g.apply(fuse_norm) == 1);
    CHECK(g.graph.order().size() == 1);
  }
  SECTION("rms without an epsilon") {
    g.output(write_norm(g, x, {.epsilon = false}));
    REQUIRE(g.apply(fuse_norm) == 1);
    CHECK(g.only("Norm").real("epsilon", 1) == 0.0f);
    CHECK(g.graph.order().size() == 1);
  }
  SECTION("layer norm with bias") {
    g.output(
        g.op("Add", {write_norm(g, x, {.divide = true, .centred = true}), g.random({kWidth})}));
    REQUIRE(g.apply(fuse_norm) == 1);
    CHECK(g.only("Norm").text("kind", "") == "layer");
    CHECK(g.graph.order().size() == 1);
  }
  SECTION("the operator of ONNX") {
    g.output(g.op("LayerNormalization", {x, g.random({kWidth}), g.random({kWidth})},
                  {{"axis", int64_t{-1}}, {"epsilon", 1e-4f}}));
    REQUIRE(g.apply(fuse_norm) == 1);
    CHECK(g.only("Norm").real("epsilon", 0) == 1e-4f);
  }
  SECTION("the operator of ONNX behind a centred x is a layer norm") {
    const ValueId mean = g.op("ReduceMean", {x, g.integers({-1})}, {{"keepdims", int64_t{1}}});
    g.output(g.op("SimplifiedLayerNormalization", {g.op("Sub", {x, mean}), g.random({kWidth})},
                  {{"axis", int64_t{-1}}, {"epsilon", 1e-4f}}));
    REQUIRE(g.apply(fuse_norm) == 1);
    CHECK(g.only("Norm").text("kind", "") == "layer");
    CHECK(g.graph.order().size() == 1);
  }
  SECTION("heads with weights of their own keep them behind the norm") {
    const ValueId heads = g.input("heads", {1, tokens(), 3, kWidth});
    const ValueId scale = g.random({3, kWidth}), bias = g.random({3, kWidth});
    const bool layer = GENERATE(false, true);
    g.output(layer ? g.op("LayerNormalization", {heads, scale, bias}, {{"axis", int64_t{-1}}})
                   : g.op("RMSNormalization", {heads, scale}, {{"axis", int64_t{-1}}}));
    REQUIRE(g.apply(fuse_norm) == 1);
    CHECK(g.only("Norm").inputs[1] == ir::kAbsent);
    CHECK(g.only("Mul").inputs[1] == scale);
    CHECK(g.count("Add") == (layer ? 1 : 0));
  }
  SECTION("a weight for each row is not part of it") {
    g.output(g.op("Mul", {write_norm(g, x, {}), g.input("y", {1, tokens(), kWidth})}));
    CHECK(g.apply(fuse_norm) == 1);
    CHECK(g.count("Mul") == 1);
  }
}

TEST_CASE("what only resembles a norm is left alone") {
  GraphMaker g;
  const ValueId x = g.input("x", {1, tokens(), kWidth});
  SECTION("mean over another axis") { g.output(write_norm(g, x, {.mean_axis = 1})); }
  SECTION("epsilon outside the root") { g.output(write_norm(g, x, {.epsilon_inside = false})); }
  SECTION("another numerator") { g.output(write_norm(g, x, {.other_numerator = true})); }
  SECTION("dimension dropped") {
    const ValueId y = g.input("y", {kWidth, kWidth});
    g.output(write_norm(g, y, {.keepdims = 0}));
  }
  SECTION("operator over two axes") {
    g.output(g.op("LayerNormalization", {x, g.random({1, kWidth})}, {{"axis", int64_t{1}}}));
    // One token only: the scale has its shape.
    g.graph.symbols["tokens"] = {1, 1};
    g.graph.value(x).shape = std::vector<Expr>{1, 1, kWidth};
  }
  CHECK(g.apply(fuse_norm) == 0);
  CHECK(g.count("Norm") == 0);
}

TEST_CASE("a sum goes into the norm that reads it") {
  GraphMaker g;
  const ValueId a = g.input("a", {1, tokens(), kWidth});
  const ValueId b = g.input("b", {1, tokens(), kWidth});
  const ValueId sum = g.op("Add", {a, b});
  g.output(write_norm(g, sum, {}));
  g.output(g.op("Neg", {sum}));
  CHECK(g.apply(fuse_norm) == 1);
  CHECK(g.apply(fuse_norm_residual) == 1);
  CHECK(g.count("Add") == 0);
  CHECK(g.only("Norm").outputs.size() == 2);
}

TEST_CASE("a constant offset is no residual") {
  GraphMaker g;
  const ValueId a = g.input("a", {1, 1, kWidth});
  g.output(write_norm(g, g.op("Add", {a, g.random({1, 1, kWidth})}), {}));
  CHECK(g.apply(fuse_norm) == 1);
  CHECK(g.apply(fuse_norm_residual) == 0);
}

}  // namespace
}  // namespace pocket
