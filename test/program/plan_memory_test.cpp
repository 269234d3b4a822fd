#include "converter/lower/plan_memory.h"

#include <random>

#include "test/support/catch.h"
#include "test/support/tiny_model.h"

using namespace pocket;

namespace {

// Bytes [offset, offset + bytes) of every two tensors that are alive together are disjoint, for
// the offsets that a run would use: the obvious quadratic check.
void check_no_overlap(const Program& program, const Bindings& bindings) {
  const EvaluatedPlan plan = evaluate_plan(program, bindings);
  const auto last = static_cast<int32_t>(program.operators.size()) - 1;
  auto reads_or_writes = [&](size_t tensor, int32_t op) {
    const Operator& one = program.operators[size_t(op)];
    for (const auto& list : {one.inputs, one.outputs}) {
      for (const TensorId id : list) {
        if (id == static_cast<TensorId>(tensor)) return true;
      }
    }
    return op == last && (program.hidden == static_cast<TensorId>(tensor) ||
                          program.logits == static_cast<TensorId>(tensor));
  };
  std::vector<std::pair<int32_t, int32_t>> lives;
  for (size_t i = 0; i < program.tensors.size(); ++i) {
    int32_t first = -1, final = -1;
    for (int32_t op = 0; op <= last; ++op) {
      if (!reads_or_writes(i, op)) continue;
      if (first < 0) first = op;
      final = op;
    }
    lives.push_back({first, final});
  }
  for (size_t i = 0; i < program.tensors.size(); ++i) {
    if (program.tensors[i].role == TensorRole::state) continue;
    REQUIRE(plan.offset[i] + plan.bytes[i] <= plan.arena_bytes);
    for (size_t k = 0; k < i; ++k) {
      if (program.tensors[k].role == TensorRole::state) continue;
      const bool together = lives[i].first <= lives[k].second && lives[k].first <= lives[i].second;
      const bool overlap = plan.offset[i] < plan.offset[k] + plan.bytes[k] &&
                           plan.offset[k] < plan.offset[i] + plan.bytes[i];
      INFO(program.tensors[i].name << " and " << program.tensors[k].name);
      REQUIRE_FALSE((together && overlap));
    }
  }
}

// A chain of operators that read random earlier tensors; widths and row symbols are random.
Program random_program(std::mt19937& random) {
  Program program;
  program.symbols = {
      {"tokens", {1, 64}}, {"rows", {1, 64}}, {"past", {0, 512}}, {"context", {1, 512}}};
  const int count = 5 + int(random() % 40);
  for (int i = 0; i < count; ++i) {
    const Expr tokens = Expr::symbol("tokens"), rows = Expr::symbol("rows");
    const Expr lengths[] = {
        tokens, rows, tokens + rows, 8 * Expr::ceildiv(tokens, 8), Expr::max(tokens, rows),
        Expr(1)};
    Tensor tensor;
    tensor.name = "t" + std::to_string(i);
    tensor.dtype = random() % 2 ? DType::f16 : DType::f32;
    tensor.shape = {lengths[random() % 6], int64_t(2 + 2 * (random() % 100))};
    program.tensors.push_back(tensor);
    Operator op;
    op.name = "op" + std::to_string(i);
    op.outputs = {i};
    for (size_t inputs = random() % 3; inputs > 0 && i > 0; --inputs) {
      const int back = 1 + int(random() % 6);
      op.inputs.push_back(std::max(0, i - back));
    }
    program.operators.push_back(op);
  }
  program.hidden = count / 2;
  program.logits = count - 1;
  return program;
}

uint64_t sum_of_tensors(const Program& program, const EvaluatedPlan& plan) {
  uint64_t sum = 0;
  for (size_t i = 0; i < program.tensors.size(); ++i) {
    if (program.tensors[i].role == TensorRole::activation) sum += plan.bytes[i];
  }
  return sum;
}

}  // namespace

TEST_CASE("live tensors never overlap, whatever the program and the binding") {
  std::mt19937 random(17);
  uint64_t arena = 0, tensors = 0;
  for (int round = 0; round < 150; ++round) {
    Program program = random_program(random);
    plan_memory(program);
    for (int sample = 0; sample < 6; ++sample) {
      const Bindings bindings = {{"tokens", int64_t(1 + random() % 64)},
                                 {"rows", int64_t(1 + random() % 64)},
                                 {"past", 0},
                                 {"context", 512}};
      check_no_overlap(program, bindings);
      const EvaluatedPlan plan = evaluate_plan(program, bindings);
      arena += plan.arena_bytes;
      tensors += sum_of_tensors(program, plan);
    }
  }
  CHECK(arena < tensors * 7 / 10);
}

TEST_CASE("a model's arena does not grow with its layers") {
  uint64_t first = 0;
  for (const int64_t layers : {4, 16}) {
    test::TinyOptions options;
    options.layers = layers;
    const test::TinyModel model = test::make_tiny_model(options);
    const Bindings bindings = {{"tokens", 16}, {"past", 0}, {"rows", 1}, {"context", 256}};
    check_no_overlap(model.manifest.program, bindings);
    const EvaluatedPlan plan = evaluate_plan(model.manifest.program, bindings);
    CHECK(plan.arena_bytes < sum_of_tensors(model.manifest.program, plan) / 2);
    if (first == 0) first = plan.arena_bytes;
    CHECK(plan.arena_bytes == first);
  }
}

TEST_CASE("a block is reused only where the proof says so") {
  // Two tensors one after the other: the sizes decide whether they may share a block.
  auto blocks_for = [](const Expr& first, const Expr& second) {
    Program program;
    program.symbols = {{"tokens", {1, 64}}, {"rows", {1, 64}}};
    for (const Expr& length : {first, Expr(1), second}) {
      program.tensors.push_back({"t", DType::f32, TensorRole::activation, {length, 1}});
    }
    for (int32_t i = 0; i < 3; ++i) {
      Operator op;
      op.outputs = {i};
      if (i > 0) op.inputs = {i - 1};
      program.operators.push_back(op);
    }
    plan_memory(program);
    return std::pair(program.plan.block_of[0] == program.plan.block_of[2],
                     program.plan.block_bytes[size_t(program.plan.block_of[0])]);
  };
  const Expr tokens = Expr::symbol("tokens"), rows = Expr::symbol("rows");
  CHECK(blocks_for(2 * tokens, tokens) == std::pair(true, 8 * tokens));  // fits
  CHECK(blocks_for(tokens, 2 * tokens) == std::pair(true, 8 * tokens));  // the block grows
  CHECK(blocks_for(tokens, rows) == std::pair(false, 4 * tokens));       // nobody knows
  CHECK(blocks_for(64 + tokens, rows).first);
}

TEST_CASE("the body's result survives while the head runs, again and again") {
  const test::TinyModel model = test::make_tiny_model({});
  const Program& program = model.manifest.program;
  const int32_t hidden_block = program.plan.block_of[size_t(program.hidden)];
  const int32_t first_head = program.segments.back().first_op;
  for (size_t i = 0; i < program.tensors.size(); ++i) {
    if (static_cast<TensorId>(i) == program.hidden) continue;
    if (program.plan.first_use[i] >= first_head) CHECK(program.plan.block_of[i] != hidden_block);
  }
}
