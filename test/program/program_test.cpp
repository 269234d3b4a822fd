#include "runtime/program/program.h"

#include "runtime/base/error.h"
#include "runtime/program/lifetimes.h"
#include "test/support/catch.h"
#include "test/support/tiny_model.h"

using namespace pocket;

TEST_CASE("bytes of a tensor follow its shape and type") {
  const Expr tokens = Expr::symbol("tokens");
  CHECK(Tensor{"x", DType::f16, TensorRole::activation, {tokens, 40}}.bytes() == 80 * tokens);
  CHECK(Tensor{"x", DType::f32, TensorRole::activation, {tokens, 40}}.bytes() == 160 * tokens);
  CHECK(Tensor{"x", DType::i32, TensorRole::activation, {3}}.bytes() == Expr(12));
}

TEST_CASE("a plan is evaluated into aligned places in the arena") {
  const test::TinyModel model = test::make_tiny_model({});
  const Program& program = model.manifest.program;
  for (const int64_t tokens : {1, 7, 16, 256}) {
    const Bindings bindings = {{"tokens", tokens}, {"past", 0}, {"rows", 1}, {"context", 256}};
    const EvaluatedPlan plan = evaluate_plan(program, bindings);
    REQUIRE(plan.offset.size() == program.tensors.size());
    for (size_t i = 0; i < program.tensors.size(); ++i) {
      CHECK(plan.bytes[i] == uint64_t(program.tensors[i].bytes().evaluate(bindings)));
      if (program.tensors[i].role == TensorRole::state) {
        CHECK(plan.offset[i] == 0);
        continue;
      }
      CHECK(plan.offset[i] % 256 == 0);
      CHECK(plan.offset[i] + plan.bytes[i] <= plan.arena_bytes);
    }
  }
  CHECK_THROWS_WITH(evaluate_plan(program, {{"tokens", 1}, {"context", 9}}),
                    Catch::Contains("'rows'"));
}

TEST_CASE("sizes that are negative or leave 64 bits are refused") {
  test::TinyModel model = test::make_tiny_model({});
  Program& program = model.manifest.program;
  const Bindings bindings = {{"tokens", 16}, {"past", 0}, {"rows", 1}, {"context", 256}};
  program.tensors[0].shape[0] = Expr::symbol("tokens") - 100;
  CHECK_THROWS_WITH(evaluate_plan(program, bindings), Catch::Contains("-13440 bytes"));
  program.tensors[0].shape[0] = Expr(INT64_MAX / 160);
  program.tensors[2].shape[0] = Expr(INT64_MAX / 160);
  program.tensors[1].shape[0] = Expr(INT64_MAX / 160);
  CHECK_THROWS_AS(evaluate_plan(program, bindings), Error);
}

TEST_CASE("lifetimes reach from the writer to the last reader") {
  const test::TinyModel model = test::make_tiny_model({});
  const Program& program = model.manifest.program;
  const Lifetimes lives = compute_lifetimes(program);
  const auto last = static_cast<int32_t>(program.operators.size()) - 1;
  CHECK(lives.last_use[size_t(program.hidden)] == last);
  CHECK(lives.last_use[size_t(program.logits)] == last);
  CHECK(lives.first_use[0] == 0);
  // The embedding is read by the first norm and as the residual of the second.
  int32_t last_reader = 0;
  for (size_t op = 0; op < program.operators.size(); ++op) {
    for (const TensorId id : program.operators[op].inputs) {
      if (id == 0) last_reader = int32_t(op);
    }
  }
  CHECK(lives.last_use[0] == last_reader);
  CHECK(last_reader > 3);
}

TEST_CASE("the text names operators, shapes in symbols and states") {
  const std::string text = to_text(test::make_tiny_model({}).manifest.program);
  for (const char* part : {"segment embed (body)", "segment head (head)", "f32[tokens, 40]",
                           "f32[rows, 105]", "layer1.k_state f16[context, 1, 8]", "heads=5/1x8",
                           "symbols context=1..256", "weights layer0.*", " up", "silu"}) {
    INFO(text);
    CHECK(text.find(part) != std::string::npos);
  }
}
