#include <cmath>

#include "converter/passes/rewrites.h"
#include "test/passes/graph_maker.h"
#include "test/support/catch.h"

namespace pocket {
namespace {

using ir::ValueId;
using test::GraphMaker;
using test::tokens;

constexpr int64_t kHeads = 2, kDim = 8;

// cos and sin of position * frequency, [1, 1, tokens, columns].
struct Tables {
  ValueId cosines, sines;
};

ValueId slice(GraphMaker& g, ValueId x, int64_t first, int64_t end, int64_t step = 1) {
  return g.op("Slice",
              {x, g.integers({first}), g.integers({end}), g.integers({-1}), g.integers({step})});
}

Tables write_tables(GraphMaker& g, int64_t pairs, const std::string& layout) {
  const ValueId positions = g.input("position_ids", {1, tokens()}, ir::ElementType::i64);
  std::vector<float> frequencies;
  for (int64_t i = 0; i < pairs; ++i) {
    const float frequency = std::pow(10.0f, -static_cast<float>(i));
    frequencies.push_back(frequency);
    if (layout == "interleaved") frequencies.push_back(frequency);
  }
  const auto columns = static_cast<int64_t>(frequencies.size());
  const ValueId floats = g.op("Cast", {positions}, {{"to", int64_t{1}}});
  const ValueId column = g.op("Reshape", {floats, g.integers({1, 1, -1, 1})});
  ValueId angles = g.op("Mul", {column, g.constant({columns}, frequencies)});
  if (layout == "halves") angles = g.op("Concat", {angles, angles}, {{"axis", int64_t{-1}}});
  return {g.op("Cos", {angles}), g.op("Sin", {angles})};
}

ValueId rotated_halves(GraphMaker& g, ValueId x, int64_t dim, bool right = true) {
  const ValueId low = slice(g, x, 0, dim / 2);
  const ValueId high = slice(g, x, dim / 2, dim);
  const std::vector<ValueId> parts = right ? std::vector<ValueId>{g.op("Neg", {high}), low}
                                           : std::vector<ValueId>{high, g.op("Neg", {low})};
  return g.op("Concat", parts, {{"axis", int64_t{-1}}});
}

ValueId rotated_pairs(GraphMaker& g, ValueId x) {
  const ValueId even = slice(g, x, 0, kDim, 2);
  const ValueId odd = slice(g, x, 1, kDim, 2);
  const ValueId last = g.integers({-1});
  const ValueId stacked = g.op(
      "Concat", {g.op("Unsqueeze", {g.op("Neg", {odd}), last}), g.op("Unsqueeze", {even, last})},
      {{"axis", int64_t{-1}}});
  return g.op("Reshape", {stacked, g.integers({1, kHeads, -1, kDim})});
}

ValueId combine(GraphMaker& g, ValueId x, ValueId turned, const Tables& tables) {
  return g.op("Add", {g.op("Mul", {x, tables.cosines}), g.op("Mul", {turned, tables.sines})});
}

TEST_CASE("rotary embeddings are recognised in every layout") {
  GraphMaker g;
  const ValueId x = g.input("x", {1, kHeads, tokens(), kDim});
  int64_t rotary_dim = kDim, interleaved = 0;
  SECTION("halves") {
    g.output(combine(g, x, rotated_halves(g, x, kDim), write_tables(g, kDim / 2, "halves")));
  }
  SECTION("pairs") {
    g.output(combine(g, x, rotated_pairs(g, x), write_tables(g, kDim / 2, "interleaved")));
    interleaved = 1;
  }
  SECTION("halves written one by one") {
    const Tables t = write_tables(g, kDim / 2, "single");
    const ValueId a = slice(g, x, 0, kDim / 2);
    const ValueId b = slice(g, x, kDim / 2, kDim);
    const ValueId low = g.op("Sub", {g.op("Mul", {a, t.cosines}), g.op("Mul", {b, t.sines})});
    const ValueId high = g.op("Add", {g.op("Mul", {b, t.cosines}), g.op("Mul", {a, t.sines})});
    g.output(g.op("Concat", {low, high}, {{"axis", int64_t{-1}}}));
  }
  SECTION("the beginning of a head") {
    rotary_dim = kDim / 2;
    const ValueId part = slice(g, x, 0, rotary_dim);
    const ValueId turned = combine(g, part, rotated_halves(g, part, rotary_dim),
                                   write_tables(g, rotary_dim / 2, "halves"));
    g.output(g.op("Concat", {turned, slice(g, x, rotary_dim, kDim)}, {{"axis", int64_t{-1}}}));
  }
  REQUIRE(g.apply(fuse_rotary) == 1);
  const ir::Node& rotary = g.only("RotaryEmbedding");
  CHECK(rotary.integer("rotary_dim", 0) == rotary_dim);
  CHECK(rotary.integer("interleaved", -1) == interleaved);
  CHECK(rotary.inputs[0] == x);
  CHECK(rotary.outputs[0] == g.graph.outputs[0]);
  CHECK(g.graph.value(rotary.inputs[2]).constant->as_floats()[1] == Approx(0.1f));
  // Without an attention around it, it is written out again.
  CHECK(g.apply(expand_rotary) == 1);
  CHECK(g.count("RotaryEmbedding") == 0);
}

TEST_CASE("tables that are no angles are kept as they stand") {
  GraphMaker g;
  const ValueId x = g.input("x", {1, kHeads, tokens(), kDim});
  const Tables t = write_tables(g, kDim / 2, "halves");
  g.output(combine(g, x, rotated_halves(g, x, kDim), {t.sines, t.cosines}));
  REQUIRE(g.apply(fuse_rotary) == 1);
  const ir::Node& rotary = g.only("RotaryEmbedding");
  CHECK(g.graph.value(rotary.inputs[2]).constant->shape == std::vector<int64_t>{64, kDim});
  CHECK(g.apply(expand_rotary) == 1);
}

TEST_CASE("turning the other way has negative frequencies") {
  GraphMaker g;
  const ValueId x = g.input("x", {1, kHeads, tokens(), kDim});
  g.output(combine(g, x, rotated_halves(g, x, kDim, false), write_tables(g, kDim / 2, "halves")));
  REQUIRE(g.apply(fuse_rotary) == 1);
  const ValueId frequencies = g.only("RotaryEmbedding").inputs[2];
  CHECK(g.graph.value(frequencies).constant->as_floats()[1] == Approx(-0.1f));
}

TEST_CASE("angles may change with the length of the text") {
  GraphMaker g;
  const ValueId x = g.input("x", {1, kHeads, tokens(), kDim});
  const ValueId positions = g.input("position_ids", {1, tokens()}, ir::ElementType::i64);
  const ValueId last = g.op("ReduceMax", {g.op("Cast", {positions}, {{"to", int64_t{1}}})},
                            {{"keepdims", int64_t{0}}});
  const ValueId is_long = g.op("GreaterOrEqual", {last, g.scalar(20)});
  const ValueId frequencies =
      g.op("Where", {is_long, g.constant({4}, {0.5f, 0.05f, 0.004f, 0.0003f}),
                     g.constant({4}, {1.0f, 0.1f, 0.01f, 0.001f})});
  const ValueId column =
      g.op("Reshape", {g.op("Cast", {positions}, {{"to", int64_t{1}}}), g.integers({1, 1, -1, 1})});
  ValueId angles = g.op("Mul", {column, frequencies});
  angles = g.op("Concat", {angles, angles}, {{"axis", int64_t{-1}}});
  g.output(
      combine(g, x, rotated_halves(g, x, kDim), {g.op("Cos", {angles}), g.op("Sin", {angles})}));
  REQUIRE(g.apply(fuse_rotary) == 1);
  const ir::Node& rotary = g.only("RotaryEmbedding");
  CHECK(rotary.integer("far_from", 0) == 21);  // positions 0 .. 20
  CHECK(g.graph.value(rotary.inputs[2]).constant->as_floats()[1] == Approx(0.1f));
  CHECK(g.graph.value(rotary.inputs[3]).constant->as_floats()[1] == Approx(0.05f));
}

TEST_CASE("what only resembles a rotation is left alone") {
  GraphMaker g;
  const ValueId x = g.input("x", {1, kHeads, tokens(), kDim});
  bool noted = false;
  SECTION("halves turned by the tables of pairs") {
    g.output(combine(g, x, rotated_halves(g, x, kDim), write_tables(g, kDim / 2, "interleaved")));
    noted = true;
  }
  SECTION("tables that depend on contents") {
    const ValueId y = g.input("y", {1, 1, tokens(), kDim});
    g.output(combine(g, x, rotated_halves(g, x, kDim), {y, y}));
  }
  SECTION("another value is added") {
    const ValueId y = g.input("y", {1, kHeads, tokens(), kDim});
    g.output(combine(g, y, rotated_halves(g, x, kDim), write_tables(g, kDim / 2, "halves")));
  }
  CHECK(g.apply(fuse_rotary) == 0);
  CHECK(g.count("RotaryEmbedding") == 0);
  CHECK(g.notes.empty() == !noted);
}

}  // namespace
}  // namespace pocket
