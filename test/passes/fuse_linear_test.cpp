#include "converter/passes/rewrites.h"
#include "test/passes/graph_maker.h"
#include "test/support/catch.h"

namespace pocket {
namespace {

using ir::ValueId;
using test::GraphMaker;
using test::tokens;

constexpr int64_t kIn = 6, kOut = 10;

TEST_CASE("linears are recognised however they are written") {
  GraphMaker g;
  const ValueId x = g.input("x", {1, tokens(), kIn});
  int64_t transposed = 1;
  SECTION("product and bias") {
    g.output(g.op("Add", {g.random({kOut}), g.op("MatMul", {x, g.random({kIn, kOut})})}));
  }
  SECTION("transposed constant") {
    const ValueId w = g.random({kOut * 200, kIn});  // large enough not to be folded
    g.output(g.op("MatMul", {x, g.op("Transpose", {w}, {{"perm", std::vector<int64_t>{1, 0}}})}));
    transposed = 0;
  }
  SECTION("Gemm") {
    const ValueId rows = g.input("rows", {tokens(), kIn});
    g.output(g.op("Gemm", {rows, g.random({kIn, kOut}), g.random({kOut})}));
  }
  SECTION("Gemm with a transposed constant") {
    const ValueId rows = g.input("rows", {tokens(), kIn});
    g.output(
        g.op("Gemm", {rows, g.random({kOut, kIn}), g.random({kOut})}, {{"transB", int64_t{1}}}));
    transposed = 0;
  }
  REQUIRE(g.apply(fuse_linear) == 1);
  CHECK(g.graph.order().size() == 1);
  CHECK(g.only("Linear").integers("transposed") == std::vector<int64_t>{transposed});
}

TEST_CASE("what only resembles a linear is left alone") {
  GraphMaker g;
  const ValueId x = g.input("x", {1, tokens(), kIn});
  SECTION("product of two activations") {
    g.output(g.op("MatMul", {x, g.input("y", {1, kIn, kOut})}));
  }
  SECTION("constant on the left") {
    g.output(g.op("MatMul", {g.random({kOut, kIn}), g.input("y", {kIn, tokens()})}));
  }
  SECTION("scaled Gemm") {
    const ValueId rows = g.input("rows", {tokens(), kIn});
    g.output(g.op("Gemm", {rows, g.random({kIn, kOut}), g.random({kOut})}, {{"alpha", 2.0f}}));
  }
  SECTION("a weight for each head") {
    g.output(g.op("MatMul", {g.input("y", {3, tokens(), kIn}), g.random({3, kIn, kOut})}));
  }
  CHECK(g.apply(fuse_linear) == 0);
}

TEST_CASE("what follows a linear joins it only when nothing else reads it") {
  GraphMaker g;
  const ValueId x = g.input("x", {1, tokens(), kIn});
  const ValueId linear = g.op("MatMul", {x, g.random({kIn, kOut})});
  SECTION("bias of a value read elsewhere") {
    g.output(g.op("Add", {linear, g.random({kOut})}));
    g.output(linear);
    CHECK(g.apply(fuse_linear) == 1);
    CHECK(g.count("Add") == 1);
  }
  SECTION("activation") {
    g.output(g.op("Relu", {linear}));
    g.apply(fuse_activation);
    g.apply(fuse_linear);
    CHECK(g.apply(fuse_linear_activation) == 1);
    CHECK(g.only("Linear").text("activation", "") == "relu");
  }
  SECTION("activation of a value read elsewhere") {
    g.output(g.op("Relu", {linear}));
    g.output(linear);
    g.apply(fuse_activation);
    g.apply(fuse_linear);
    CHECK(g.apply(fuse_linear_activation) == 0);
  }
  SECTION("residual") {
    g.output(g.op("Add", {g.input("r", {1, tokens(), kOut}), linear}));
    g.apply(fuse_linear);
    CHECK(g.apply(fuse_linear_residual) == 1);
    CHECK(g.graph.order().size() == 1);
  }
  SECTION("residual that is broadcast") {
    g.output(g.op("Add", {g.input("r", {1, 1, kOut}), linear}));
    g.apply(fuse_linear);
    CHECK(g.apply(fuse_linear_residual) == 0);
  }
  SECTION("residual of a value read elsewhere") {
    g.output(g.op("Add", {g.input("r", {1, tokens(), kOut}), linear}));
    g.output(linear);
    g.apply(fuse_linear);
    CHECK(g.apply(fuse_linear_residual) == 0);
  }
}

TEST_CASE("views sink below a linear and cancel") {
  GraphMaker g;
  const ValueId x = g.input("x", {1, tokens(), kIn});
  const ValueId rows = g.op("Reshape", {x, g.integers({-1, kIn})});
  const ValueId linear = g.op("Gemm", {rows, g.random({kIn, kOut}), g.random({kOut})});
  g.output(g.op("Neg", {g.op("Reshape", {linear, g.integers({1, -1, kOut})})}));
  CHECK(g.apply(fuse_linear) == 1);
  CHECK(g.apply(sink_reshapes) == 2);  // one sinks, then the pair cancels
  CHECK(g.count("Reshape") == 0);
}

TEST_CASE("gate and up become one") {
  GraphMaker g;
  const ValueId x = g.input("x", {1, tokens(), kIn});
  const ValueId y = g.input("y", {1, tokens(), kIn});
  const ValueId gate = g.op("MatMul", {x, g.random({kIn, kOut})});
  const ValueId active = g.op("Mul", {g.op("Sigmoid", {gate}), gate});
  int expected = 0;
  SECTION("of one input") {
    g.output(g.op("Mul", {g.op("MatMul", {x, g.random({kIn, kOut})}), active}));
    expected = 1;
  }
  SECTION("halves of one matrix") {
    const ValueId both = g.op("MatMul", {x, g.random({kIn, 2 * kOut})});
    const auto half = [&](int64_t first) {
      return g.op("Slice", {both, g.integers({first}), g.integers({first + kOut}), g.integers({-1}),
                            g.integers({1})});
    };
    g.output(g.op("Mul", {g.op("Relu", {half(0)}), half(kOut)}));
    expected = 1;
  }
  SECTION("of different inputs") {
    g.output(g.op("Mul", {active, g.op("MatMul", {y, g.random({kIn, kOut})})}));
  }
  SECTION("the gate is read elsewhere") {
    g.output(g.op("Mul", {active, g.op("MatMul", {x, g.random({kIn, kOut})})}));
    g.output(active);
  }
  g.apply(fuse_activation);
  g.apply(fuse_linear);
  CHECK(g.apply(fuse_gated_linear) == expected);
  CHECK(g.count("GatedLinear") == expected);
}

}  // namespace
}  // namespace pocket
