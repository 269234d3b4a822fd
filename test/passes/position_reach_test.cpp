#include "converter/passes/position_reach.h"

#include "converter/shape/infer.h"
#include "test/passes/graph_maker.h"
#include "test/support/catch.h"

namespace pocket {
namespace {

using ir::ValueId;
using test::GraphMaker;
using test::tokens;

// Rows of a table, looked up by position and added to x.
void write_lookup(GraphMaker& g, int64_t rows, int64_t offset) {
  const ValueId x = g.input("x", {1, tokens(), 4});
  const ValueId positions = g.input("position_ids", {1, tokens()}, ir::ElementType::i64);
  const ValueId index = g.op("Add", {positions, g.integers({offset})});
  g.output(g.op("Add", {x, g.op("Gather", {g.random({rows, 4}), index})}));
  shape::require_resolved(shape::infer_shapes(g.graph));
}

TEST_CASE("a table of positions bounds the context") {
  GraphMaker g;
  SECTION("at its end") {
    write_lookup(g, 50, 0);
    CHECK(position_reach(g.graph, {4096, false}) == 50);
    CHECK(position_reach(g.graph, {20, false}) == 20);
  }
  SECTION("earlier where rows are kept for other things") {
    write_lookup(g, 50, 2);
    CHECK(position_reach(g.graph, {4096, false}) == 48);
  }
}

TEST_CASE("positions without tables go on") {
  GraphMaker g;
  const ValueId x = g.input("x", {1, tokens(), 4});
  const ValueId positions = g.input("position_ids", {1, tokens()}, ir::ElementType::i64);
  const ValueId floats = g.op("Cast", {positions}, {{"to", int64_t{1}}});
  g.output(g.op("Add", {x, g.op("Unsqueeze", {g.op("Cos", {floats}), g.integers({-1})})}));
  shape::require_resolved(shape::infer_shapes(g.graph));
  CHECK(position_reach(g.graph, {100000, false}) == 100000);
}

}  // namespace
}  // namespace pocket
