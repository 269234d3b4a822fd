// Attention blocks written by hand, one way each.
#include "converter/passes/rewrites.h"
#include "test/passes/graph_maker.h"
#include "test/support/catch.h"

namespace pocket {
namespace {

using ir::ValueId;
using test::GraphMaker;
using test::tokens;

constexpr int64_t kHeads = 4, kKvHeads = 2, kDim = 8;

struct Form {
  std::string mask = "additive";  // allowed, forbidden, padding, causal and padding, none
  std::string scale = "scores";   // queries, keys, mask too
  int64_t softmax_axis = -1;
  bool past_first = true;
  bool declared_state = true;
  bool heads_merged = true;
};

ValueId heads_of(GraphMaker& g, const std::string& name, int64_t heads) {
  const ValueId rows = g.input(name, {1, tokens(), heads * kDim});
  const ValueId split = g.op("Reshape", {rows, g.integers({1, -1, heads, kDim})});
  return g.op("Transpose", {split}, {{"perm", std::vector<int64_t>{0, 2, 1, 3}}});
}

// Appends to a state and repeats its heads.
ValueId through_state(GraphMaker& g, const std::string& name, ValueId fresh, const Form& form) {
  const ValueId past = g.input("past_" + name, {1, kKvHeads, Expr::symbol("past"), kDim});
  const std::vector<ValueId> parts =
      form.past_first ? std::vector<ValueId>{past, fresh} : std::vector<ValueId>{fresh, past};
  const ValueId present = g.op("Concat", parts, {{"axis", int64_t{2}}});
  g.output(present);
  if (form.declared_state) g.graph.states.push_back({past, present});
  const ValueId wide = g.op("Unsqueeze", {present, g.integers({2})});
  const ValueId repeated = g.op("Expand", {wide, g.integers({1, 1, kHeads / kKvHeads, 1, 1})});
  return g.op("Reshape", {repeated, g.integers({1, kHeads, -1, kDim})});
}

ValueId masked(GraphMaker& g, ValueId scores, const Form& form) {
  if (form.mask == "none") return scores;
  const Expr total = Expr::symbol("past") + tokens();
  const ValueId positions = g.input("position_ids", {1, tokens()}, ir::ElementType::i64);
  const ValueId mask = g.input("attention_mask", {1, total}, ir::ElementType::i64);
  const ValueId one = g.integers({1});
  const ValueId keys = g.op("Sub", {g.op("CumSum", {mask, one}), one});
  const ValueId allowed =
      g.op("LessOrEqual", {g.op("Reshape", {keys, g.integers({1, 1, 1, -1})}),
                           g.op("Reshape", {positions, g.integers({1, 1, -1, 1})})});
  const ValueId least = g.scalar(-3e38f);
  if (form.mask == "additive") {
    return g.op("Add", {g.op("Where", {allowed, g.scalar(0), least}), scores});
  }
  if (form.mask == "allowed") return g.op("Where", {allowed, scores, least});
  if (form.mask == "forbidden") return g.op("Where", {g.op("Not", {allowed}), least, scores});
  const ValueId floats = g.op("Cast", {mask}, {{"to", int64_t{1}}});
  const ValueId padding = g.op("Mul", {g.op("Sub", {g.scalar(1), floats}), g.scalar(-1e9f)});
  const ValueId wide = g.op("Reshape", {padding, g.integers({1, 1, 1, -1})});
  if (form.mask == "padding") return g.op("Add", {scores, wide});
  return g.op("Add", {g.op("Where", {allowed, scores, least}), wide});
}

void write_attention(GraphMaker& g, const Form& form) {
  ValueId q = heads_of(g, "q", kHeads);
  ValueId keys = through_state(g, "key", heads_of(g, "k", kKvHeads), form);
  const ValueId values = through_state(g, "value", heads_of(g, "v", kKvHeads), form);
  const ValueId scale = g.scalar(0.35f);
  if (form.scale == "queries") q = g.op("Mul", {scale, q});
  if (form.scale == "keys") keys = g.op("Mul", {keys, scale});
  const ValueId flipped = g.op("Transpose", {keys}, {{"perm", std::vector<int64_t>{0, 1, 3, 2}}});
  ValueId scores = g.op("MatMul", {q, flipped});
  if (form.scale == "scores") scores = g.op("Div", {scores, g.scalar(2.8f)});
  scores = masked(g, scores, form);
  if (form.scale == "mask too") scores = g.op("Mul", {scores, scale});
  const ValueId weights = g.op("Softmax", {scores}, {{"axis", form.softmax_axis}});
  const ValueId mixed = g.op("MatMul", {weights, values});
  const std::vector<int64_t> order =
      form.heads_merged ? std::vector<int64_t>{0, 2, 1, 3} : std::vector<int64_t>{0, 2, 3, 1};
  const ValueId turned = g.op("Transpose", {mixed}, {{"perm", order}});
  g.output(g.op("Reshape", {turned, g.integers({1, -1, kHeads * kDim})}));
}

TEST_CASE("attention is recognised however mask and scale are applied") {
  Form form;
  double scale = 0.35;
  SECTION("mask added, scores divided") { scale = 1 / 2.8; }
  SECTION("mask chooses what is allowed") { form = {.mask = "allowed", .scale = "queries"}; }
  SECTION("mask chooses what is forbidden") { form = {.mask = "forbidden", .scale = "keys"}; }
  SECTION("a second mask for padding") {
    form = {.mask = "causal and padding", .scale = "queries"};
  }
  SECTION("scale behind the mask") { form = {.mask = "additive", .scale = "mask too"}; }
  GraphMaker g;
  write_attention(g, form);
  REQUIRE(g.apply(fuse_attention) == 1);
  const ir::Node& attention = g.only("Attention");
  CHECK(static_cast<double>(attention.real("scale", 0)) == Approx(scale));
  CHECK(attention.integer("heads", 0) == kHeads);
  CHECK(attention.integer("kv_heads", 0) == kKvHeads);
  CHECK(attention.integer("head_dim", 0) == kDim);
  CHECK(g.graph.order().size() == 1);
}

TEST_CASE("what only resembles causal attention is left alone") {
  Form form;
  SECTION("no mask") { form.mask = "none"; }
  SECTION("a mask for padding only") { form.mask = "padding"; }
  SECTION("softmax over the queries") { form.softmax_axis = 2; }
  SECTION("new keys before the old ones") { form.past_first = false; }
  SECTION("a past that is no state") { form.declared_state = false; }
  SECTION("heads interleaved in the result") { form.heads_merged = false; }
  GraphMaker g;
  write_attention(g, form);
  CHECK(g.apply(fuse_attention) == 0);
  CHECK(g.count("Softmax") == 1);
}

}  // namespace
}  // namespace pocket
