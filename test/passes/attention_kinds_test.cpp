// Attention blocks with everything that a decoder may add to them. Each is proven twice: by the
// pass itself and by GraphMaker, which computes the graph before and after.
#include "converter/passes/rewrites.h"
#include "converter/shape/infer.h"
#include "test/passes/graph_maker.h"
#include "test/support/catch.h"

namespace pocket {
namespace {

using ir::ValueId;
using test::GraphMaker;
using test::tokens;

constexpr int64_t kHeads = 4, kDim = 8;

struct Kind {
  int64_t kv_heads = 2;
  int64_t window = 0;
  float cap = 0;
  bool slopes = false;
  bool bent_slopes = false;  // no longer linear in the distance
  // "rms", "layer", "rms per head", "keys only", "operator per head": as ONNX Runtime fuses it
  std::string norm = "none";
  std::string rows = "apart";     // "head by head", "grouped": one projection for q, k and v
  std::string repeat = "expand";  // "gather", "broadcast"
  bool stateless = false;
  bool sequence_first = false;  // states of [past, 1, heads, dim]
};

std::vector<int64_t> order(std::initializer_list<int64_t> axes) { return axes; }

ValueId normed(GraphMaker& g, ValueId x, int64_t heads, const std::string& kind) {
  const ValueId last = g.integers({-1});
  ValueId centred = x;
  if (kind == "layer" || kind == "operator per head") {
    centred = g.op("Sub", {x, g.op("ReduceMean", {x, last})});
  }
  if (kind == "operator per head") {
    return g.op("SimplifiedLayerNormalization", {centred, g.random({heads, kDim})},
                {{"axis", int64_t{-1}}, {"epsilon", 1e-5f}});
  }
  const ValueId mean = g.op("ReduceMean", {g.op("Pow", {centred, g.scalar(2)}), last});
  const ValueId root = g.op("Sqrt", {g.op("Add", {mean, g.scalar(1e-5f)})});
  const ValueId unit = g.op("Div", {centred, root});
  const bool own = kind == "rms per head";
  return g.op("Mul", {unit, own ? g.random({heads, kDim}) : g.random({kDim})});
}

ValueId turned(GraphMaker& g, ValueId split) {
  return g.op("Transpose", {split}, {{"perm", order({0, 2, 1, 3})}});
}

struct Qkv {
  ValueId q, k, v;
};

Qkv write_heads(GraphMaker& g, const Kind& kind) {
  const auto split = [&](ValueId rows, int64_t heads) {
    return g.op("Reshape", {rows, g.integers({1, -1, heads, kDim})});
  };
  const auto slice = [&](ValueId x, int64_t axis, int64_t first, int64_t end) {
    return g.op("Slice", {x, g.integers({first}), g.integers({end}), g.integers({axis})});
  };
  Qkv heads{};
  if (kind.rows == "apart") {
    heads = {split(g.input("q", {1, tokens(), kHeads * kDim}), kHeads),
             split(g.input("k", {1, tokens(), kind.kv_heads * kDim}), kind.kv_heads),
             split(g.input("v", {1, tokens(), kind.kv_heads * kDim}), kind.kv_heads)};
  } else {
    const ValueId x = g.input("x", {1, tokens(), 16});
    const int64_t groups = kind.rows == "grouped" ? kind.kv_heads : kHeads;
    const int64_t queries = kHeads / groups;
    const int64_t width = groups * (queries + 2) * kDim;
    const ValueId rows =
        g.op("Add", {g.op("MatMul", {x, g.random({16, width})}), g.random({width})});
    const ValueId grouped = g.op("Reshape", {rows, g.integers({1, -1, groups, queries + 2, kDim})});
    heads.q = g.op("Reshape", {slice(grouped, 3, 0, queries), g.integers({1, -1, kHeads, kDim})});
    heads.k = g.op("Reshape",
                   {slice(grouped, 3, queries, queries + 1), g.integers({1, -1, groups, kDim})});
    heads.v = g.op("Squeeze", {slice(grouped, 3, queries + 1, queries + 2), g.integers({3})});
  }
  if (kind.norm == "keys only") {
    heads.k = normed(g, heads.k, kind.kv_heads, "rms");
  } else if (kind.norm != "none") {
    heads.q = normed(g, heads.q, kHeads, kind.norm);
    heads.k = normed(g, heads.k, kind.kv_heads, kind.norm);
  }
  return {turned(g, heads.q), turned(g, heads.k), turned(g, heads.v)};
}

ValueId appended(GraphMaker& g, const Kind& kind, const std::string& name, ValueId fresh) {
  ValueId present = fresh;
  if (kind.sequence_first) {
    const ValueId past = g.input("past_" + name, {Expr::symbol("past"), 1, kind.kv_heads, kDim});
    const ValueId rows = g.op("Transpose", {fresh}, {{"perm", order({2, 0, 1, 3})}});
    const ValueId joined = g.op("Concat", {past, rows}, {{"axis", int64_t{0}}});
    g.output(joined);
    g.graph.states.push_back({past, joined});
    present = g.op("Transpose", {joined}, {{"perm", order({1, 2, 0, 3})}});
  } else if (!kind.stateless) {
    const ValueId past = g.input("past_" + name, {1, kind.kv_heads, Expr::symbol("past"), kDim});
    present = g.op("Concat", {past, fresh}, {{"axis", int64_t{2}}});
    g.output(present);
    g.graph.states.push_back({past, present});
  }
  const int64_t group = kHeads / kind.kv_heads;
  if (kind.repeat == "broadcast") return g.op("Unsqueeze", {present, g.integers({2})});
  if (group == 1) return present;
  if (kind.repeat == "gather") {
    std::vector<int64_t> heads;
    for (int64_t h = 0; h < kHeads; ++h) heads.push_back(h / group);
    return g.op("Gather", {present, g.integers(heads)}, {{"axis", int64_t{1}}});
  }
  const ValueId wide = g.op("Unsqueeze", {present, g.integers({2})});
  const ValueId repeated = g.op("Expand", {wide, g.integers({1, 1, group, 1, 1})});
  return g.op("Reshape", {repeated, g.integers({1, kHeads, -1, kDim})});
}

void write_attention(GraphMaker& g, const Kind& kind) {
  g.stateless = kind.stateless;
  const Qkv heads = write_heads(g, kind);
  const bool wide = kind.repeat == "broadcast";
  ValueId q = heads.q;
  if (wide) {
    q = g.op("Reshape", {q, g.integers({1, kind.kv_heads, kHeads / kind.kv_heads, -1, kDim})});
  }
  const ValueId keys = appended(g, kind, "key", heads.k);
  const ValueId values = appended(g, kind, "value", heads.v);
  const auto swap = wide ? order({0, 1, 2, 4, 3}) : order({0, 1, 3, 2});
  ValueId scores = g.op("MatMul", {q, g.op("Transpose", {keys}, {{"perm", swap}})});
  scores = g.op("Mul", {scores, g.scalar(0.35f)});
  if (kind.cap > 0) {
    const ValueId inside = g.op("Div", {scores, g.scalar(kind.cap)});
    scores = g.op("Mul", {g.op("Tanh", {inside}), g.scalar(kind.cap)});
  }
  const Expr total = kind.stateless ? tokens() : Expr::symbol("past") + tokens();
  const ValueId positions = g.input("position_ids", {1, tokens()}, ir::ElementType::i64);
  const ValueId mask = g.input("attention_mask", {1, total}, ir::ElementType::i64);
  const ValueId one = g.integers({1});
  const ValueId ordinals = g.op("Sub", {g.op("CumSum", {mask, one}), one});
  const ValueId columns = g.op("Reshape", {ordinals, g.integers({1, 1, 1, -1})});
  const ValueId rows = g.op("Reshape", {positions, g.integers({1, 1, -1, 1})});
  ValueId allowed = g.op("LessOrEqual", {columns, rows});
  if (kind.window > 0) {
    const ValueId near = g.op("Greater", {g.op("Add", {columns, g.integers({kind.window})}), rows});
    allowed = g.op("And", {allowed, near});
  }
  if (kind.slopes) {
    ValueId distances = g.op("Cast", {columns}, {{"to", int64_t{1}}});
    if (kind.bent_slopes) distances = g.op("Sqrt", {distances});
    const ValueId slopes = g.constant({1, kHeads, 1, 1}, {0.5f, 0.25f, 0.0625f, 0.3f});
    scores = g.op("Add", {scores, g.op("Mul", {distances, slopes})});
  }
  scores = g.op("Where", {allowed, scores, g.scalar(-3e38f)});
  const ValueId weights = g.op("Softmax", {scores}, {{"axis", int64_t{-1}}});
  ValueId mixed = g.op("MatMul", {weights, values});
  if (wide) mixed = g.op("Reshape", {mixed, g.integers({1, kHeads, -1, kDim})});
  g.output(g.op("Reshape", {turned(g, mixed), g.integers({1, -1, kHeads * kDim})}));
}

TEST_CASE("attention of every kind becomes one operator") {
  Kind kind;
  SECTION("a window") { kind.window = 3; }
  SECTION("a soft cap") { kind.cap = 1.5f; }
  SECTION("a soft cap and a window") { kind = {.window = 4, .cap = 2.0f}; }
  SECTION("slopes") { kind.slopes = true; }
  SECTION("a norm of each head") { kind.norm = "rms"; }
  SECTION("a centred norm of each head") { kind.norm = "layer"; }
  SECTION("a norm with a weight for each head") { kind.norm = "rms per head"; }
  SECTION("a centred norm operator with a weight for each head") {
    kind.norm = "operator per head";
  }
  SECTION("a norm of the keys alone") { kind.norm = "keys only"; }
  SECTION("one head of keys") { kind.kv_heads = 1; }
  SECTION("heads repeated by a lookup") { kind.repeat = "gather"; }
  SECTION("heads repeated by the product itself") { kind.repeat = "broadcast"; }
  SECTION("no states") { kind = {.window = 3, .stateless = true}; }
  GraphMaker g;
  write_attention(g, kind);
  g.apply(fuse_norm);
  REQUIRE(g.apply(fuse_attention) == 1);
  const ir::Node& attention = g.only("Attention");
  CHECK(g.graph.order().size() == 1);
  CHECK(attention.integer("kv_heads", 0) == kind.kv_heads);
  CHECK(attention.integer("window", -1) == kind.window);
  CHECK(attention.real("soft_cap", -1) == Approx(kind.cap));
  CHECK(attention.real("scale", 0) == Approx(0.35f));
  if (kind.slopes) {
    CHECK(g.graph.value(attention.inputs[7]).constant->as_floats()[2] == Approx(0.0625f));
  }
  CHECK((attention.inputs[8] == ir::kAbsent) == (kind.norm == "none" || kind.norm == "keys only"));
  CHECK((attention.inputs[9] == ir::kAbsent) == (kind.norm == "none"));
  if (kind.stateless) {
    CHECK(g.graph.states.size() == 2);
    CHECK(g.graph.is_input(attention.inputs[3]));
    CHECK(g.graph.outputs.size() == 3);
  }
}

TEST_CASE("states in another order are put into the one of the program") {
  GraphMaker g;
  write_attention(g, {.sequence_first = true});
  // The outputs that are states change their shape, so only the result is compared.
  g.graph.outputs = {g.graph.outputs.back(), g.graph.outputs[0], g.graph.outputs[1]};
  PassContext context{g.graph, {64}, {}};
  shape::require_resolved(shape::infer_shapes(g.graph));
  CHECK(order_states(context) == 2);
  g.graph.verify();
  const std::vector<Expr> expected{1, 2, Expr::symbol("past"), kDim};
  for (const ir::StatePair& state : g.graph.states) {
    CHECK(*g.graph.value(state.past).shape == expected);
    CHECK(g.graph.is_input(state.past));
    CHECK(g.graph.is_output(state.present));
  }
  CHECK(g.apply(fuse_attention) == 1);
  CHECK(g.graph.order().size() == 1);
}

TEST_CASE("a projection of interleaved heads is read in another order") {
  Kind kind;
  SECTION("q, k and v head by head") { kind = {.kv_heads = kHeads, .rows = "head by head"}; }
  SECTION("several q for one k and v") { kind.rows = "grouped"; }
  GraphMaker g;
  write_attention(g, kind);
  REQUIRE(g.apply(fuse_linear) == 1);
  REQUIRE(g.apply(fuse_attention) == 1);
  const ir::Node& attention = g.only("Attention");
  const ir::Node& linear = g.only("Linear");
  CHECK(attention.inputs[0] == linear.outputs[0]);
  CHECK(attention.integer("k_column", 0) == kHeads * kDim);
  CHECK(attention.integer("v_column", 0) == (kHeads + kind.kv_heads) * kDim);
  CHECK(linear.inputs.size() > 4);  // parts of the weight, not a copy of it
  for (size_t part = 4; part < linear.inputs.size(); ++part) {
    CHECK(linear.inputs[part] == linear.inputs[3]);
  }
  CHECK(g.graph.order().size() == 2);
}

TEST_CASE("a bias that no slope explains keeps its operators") {
  GraphMaker g;
  write_attention(g, {.slopes = true, .bent_slopes = true});
  CHECK(g.apply(fuse_attention) == 0);
  CHECK(g.count("Softmax") == 1);
  CHECK(g.notes.size() == 1);
}

}  // namespace
}  // namespace pocket
