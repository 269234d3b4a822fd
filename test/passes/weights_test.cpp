// Passes that look at weights: tied embeddings, merged projections; and the head split.
#include "converter/passes/rewrites.h"
#include "test/passes/graph_maker.h"
#include "test/support/catch.h"

namespace pocket {
namespace {

using ir::ValueId;
using test::GraphMaker;
using test::tokens;

constexpr int64_t kVocabulary = 5, kWidth = 4;

std::vector<float> table_values() {
  std::vector<float> values;
  for (int i = 0; i < kVocabulary * kWidth; ++i) values.push_back(0.25f * static_cast<float>(i));
  return values;
}

// Embedding and head whose matrix is the table, stored again transposed.
void write_tied(GraphMaker& g, float change) {
  const std::vector<float> table = table_values();
  std::vector<float> transposed(table.size());
  for (size_t n = 0; n < kVocabulary; ++n) {
    for (size_t k = 0; k < kWidth; ++k) transposed[k * kVocabulary + n] = table[n * kWidth + k];
  }
  transposed[7] += change;
  const ValueId ids = g.input("input_ids", {1, tokens()}, ir::ElementType::i64);
  const ValueId rows = g.op("Gather", {g.constant({kVocabulary, kWidth}, table), ids});
  g.output(g.op("MatMul", {rows, g.constant({kWidth, kVocabulary}, transposed)}));
  g.apply(fuse_linear);
  CHECK(g.apply(fuse_embedding) == 1);
}

TEST_CASE("a head that repeats the embedding shares it") {
  GraphMaker g;
  write_tied(g, 0.0f);
  CHECK(g.apply(tie_embedding) == 1);
  CHECK(g.only("Linear").inputs[3] == g.only("Embed").inputs[1]);
  CHECK(g.only("Linear").integers("transposed") == std::vector<int64_t>{0});
  CHECK(g.apply(tie_embedding) == 0);
}

TEST_CASE("a head that differs in one number does not") {
  GraphMaker g;
  write_tied(g, 1e-3f);
  CHECK(g.apply(tie_embedding) == 0);
  CHECK(g.only("Linear").inputs[3] != g.only("Embed").inputs[1]);
}

TEST_CASE("a scaled embedding keeps its scale") {
  GraphMaker g;
  const ValueId ids = g.input("input_ids", {1, tokens()}, ir::ElementType::i64);
  const ValueId rows = g.op("Gather", {g.random({kVocabulary, kWidth}), ids});
  g.output(g.op("Mul", {rows, g.scalar(3.0f)}));
  CHECK(g.apply(fuse_embedding) == 1);
  CHECK(g.only("Embed").real("scale", 0) == 3.0f);
}

TEST_CASE("learned positions that are added to a projection are an embedding alone") {
  GraphMaker g;
  const ValueId ids = g.input("input_ids", {1, tokens()}, ir::ElementType::i64);
  const ValueId positions = g.input("position_ids", {1, tokens()}, ir::ElementType::i64);
  const ValueId rows = g.op("Gather", {g.random({kVocabulary, kWidth}), ids});
  const ValueId projected = g.op("MatMul", {rows, g.random({kWidth, 6})});
  const ValueId learned =
      g.op("Gather", {g.random({80, 6}), g.op("Add", {positions, g.integers({2})})});
  int embeds = 2, sums = 1;
  SECTION("by a sum") { g.output(g.op("Add", {projected, learned})); }
  SECTION("but not multiplied") {
    g.output(g.op("Mul", {projected, learned}));
    embeds = 1;
    sums = 0;
  }
  SECTION("but not with a second reader") {
    g.output(g.op("Add", {projected, learned}));
    g.output(g.op("Neg", {learned}));
    embeds = 1;
  }
  g.apply(fuse_linear);
  CHECK(g.apply(fuse_embedding) == embeds);
  CHECK(g.count("Embed") == embeds);
  CHECK(g.apply(tie_embedding) == 0);
  CHECK(g.apply(fuse_linear_residual) == sums);
}

TEST_CASE("a table looked up by something else is no embedding") {
  GraphMaker g;
  const ValueId other = g.input("token_type_ids", {1, tokens()}, ir::ElementType::i64);
  g.output(g.op("Gather", {g.random({kVocabulary, kWidth}), other}));
  CHECK(g.apply(fuse_embedding) == 0);
}

TEST_CASE("the head begins at the last norm") {
  GraphMaker g;
  const ValueId x = g.input("x", {1, tokens(), kWidth});
  const ValueId hidden = g.op("Neg", {x});
  const ValueId norm = g.op("LayerNormalization", {hidden, g.random({kWidth})});
  g.output(g.op("MatMul", {norm, g.random({kWidth, kVocabulary})}));
  g.apply(fuse_norm);
  g.apply(fuse_linear);
  SECTION("which is split off once") {
    CHECK(g.apply(split_head) == 1);
    CHECK(g.only("Norm").inputs[0] == g.only("SelectRows").outputs[0]);
    CHECK(g.apply(split_head) == 0);
  }
  SECTION("unless its input is read elsewhere, then at the matrix") {
    g.output(g.op("Exp", {hidden}));
    CHECK(g.apply(split_head) == 1);
    CHECK(g.only("Linear").inputs[0] == g.only("SelectRows").outputs[0]);
  }
}

TEST_CASE("without a matrix there is no head") {
  GraphMaker g;
  const ValueId x = g.input("x", {1, tokens(), kWidth});
  g.output(g.op("LayerNormalization", {x, g.random({kWidth})}));
  g.apply(fuse_norm);
  CHECK(g.apply(split_head) == 0);
}

TEST_CASE("clean-up removes what does nothing and nothing else") {
  GraphMaker g;
  const ValueId x = g.input("x", {1, tokens(), kWidth});
  SECTION("identities") {
    ValueId y = g.op("Mul", {g.op("Identity", {x}), g.scalar(1)});
    y = g.op("Transpose", {g.op("Add", {y, g.scalar(0)})},
             {{"perm", std::vector<int64_t>{0, 1, 2}}});
    g.output(g.op("Neg", {y}));
    CHECK(g.apply(remove_identities) == 4);
    CHECK(g.graph.order().size() == 1);
  }
  SECTION("a transposition, a scale and an expansion stay") {
    ValueId y = g.op("Transpose", {x}, {{"perm", std::vector<int64_t>{0, 2, 1}}});
    y = g.op("Mul", {g.op("Expand", {y, g.integers({2, 1, 1})}), g.scalar(2)});
    g.output(g.op("Sub", {g.scalar(0), y}));
    CHECK(g.apply(remove_identities) == 0);
  }
  SECTION("float casts go, others stay") {
    const ValueId half = g.op("Cast", {x}, {{"to", int64_t{10}}});
    const ValueId back = g.op("Cast", {g.op("Neg", {half})}, {{"to", int64_t{1}}});
    g.output(g.op("Cast", {g.op("Cast", {back}, {{"to", int64_t{7}}})}, {{"to", int64_t{1}}}));
    CHECK(g.apply(drop_float_casts) == 2);
    CHECK(g.count("Cast") == 2);
  }
  SECTION("equal computations are merged, different ones not") {
    const ValueId a = g.op("Mul", {x, g.scalar(2)});
    const ValueId b = g.op("Mul", {x, g.scalar(2)});
    const ValueId c = g.op("Mul", {x, g.scalar(3)});
    g.output(g.op("Add", {g.op("Add", {g.op("Exp", {a}), g.op("Exp", {b})}), c}));
    CHECK(g.apply(merge_duplicates) == 2);
    CHECK(g.count("Exp") == 1);
    CHECK(g.count("Mul") == 2);
  }
}

}  // namespace
}  // namespace pocket
