#include "converter/passes/rewrites.h"
#include "test/passes/graph_maker.h"
#include "test/support/catch.h"

namespace pocket {
namespace {

using ir::ValueId;
using test::GraphMaker;
using test::tokens;

TEST_CASE("functions are recognised by what they compute") {
  GraphMaker g;
  const ValueId x = g.input("x", {1, tokens(), 8});
  std::string expected;
  SECTION("x * sigmoid(x)") {
    g.output(g.op("Mul", {x, g.op("Sigmoid", {x})}));
    expected = "silu";
  }
  SECTION("x / (1 + exp(-x))") {
    g.output(g.op("Div", {x, g.op("Add", {g.scalar(1), g.op("Exp", {g.op("Neg", {x})})})}));
    expected = "silu";
  }
  SECTION("gelu with erf") {
    const ValueId erf = g.op("Erf", {g.op("Div", {x, g.scalar(1.41421356f)})});
    g.output(g.op("Mul", {g.op("Mul", {x, g.op("Add", {erf, g.scalar(1)})}), g.scalar(0.5f)}));
    expected = "gelu_erf";
  }
  SECTION("gelu with tanh, cube by multiplication") {
    const ValueId cube = g.op("Mul", {x, g.op("Mul", {x, x})});
    const ValueId inner = g.op("Add", {x, g.op("Mul", {g.scalar(0.044715f), cube})});
    const ValueId tanh = g.op("Tanh", {g.op("Mul", {g.scalar(0.79788456f), inner})});
    g.output(g.op("Mul", {g.op("Mul", {g.scalar(0.5f), x}), g.op("Add", {g.scalar(1), tanh})}));
    expected = "gelu_tanh";
  }
  SECTION("x * sigmoid(1.702 x)") {
    g.output(g.op("Mul", {x, g.op("Sigmoid", {g.op("Mul", {g.scalar(1.702f), x})})}));
    expected = "quick_gelu";
  }
  SECTION("relu squared") {
    g.output(g.op("Pow", {g.op("Relu", {x}), g.scalar(2)}));
    expected = "relu_square";
  }
  SECTION("relu") {
    g.output(g.op("Relu", {x}));
    expected = "relu";
  }
  REQUIRE(g.apply(fuse_activation) == 1);
  CHECK(g.graph.order().size() == 1);
  CHECK(g.only("Activation").text("function", "") == expected);
}

TEST_CASE("other functions are left alone") {
  GraphMaker g;
  const ValueId x = g.input("x", {1, tokens(), 8});
  SECTION("a steeper sigmoid leaves only the sigmoid") {
    const ValueId steep = g.op("Sigmoid", {g.op("Mul", {x, g.scalar(1.9f)})});
    g.output(g.op("Mul", {x, steep}));
    CHECK(g.apply(fuse_activation) == 1);
    CHECK(g.only("Activation").text("function", "") == "sigmoid");
    CHECK(g.count("Mul") == 2);
  }
  SECTION("gate from another value") {
    const ValueId y = g.input("y", {1, tokens(), 8});
    g.output(g.op("Mul", {x, g.op("Sigmoid", {y})}));
    CHECK(g.apply(fuse_activation) == 1);
    CHECK(g.only("Activation").text("function", "") == "sigmoid");
    CHECK(g.count("Mul") == 1);
  }
  SECTION("another coefficient") {
    const ValueId cube = g.op("Pow", {x, g.scalar(3)});
    const ValueId inner = g.op("Add", {x, g.op("Mul", {cube, g.scalar(0.06f)})});
    const ValueId tanh = g.op("Tanh", {g.op("Mul", {inner, g.scalar(0.79788456f)})});
    g.output(g.op("Mul", {g.op("Mul", {x, g.scalar(0.5f)}), g.op("Add", {tanh, g.scalar(1)})}));
    CHECK(g.apply(fuse_activation) == 1);
    CHECK(g.only("Activation").text("function", "") == "tanh");
  }
  SECTION("plain arithmetic") {
    g.output(g.op("Mul", {g.op("Add", {x, g.scalar(1)}), x}));
    CHECK(g.apply(fuse_activation) == 0);
  }
}

}  // namespace
}  // namespace pocket
