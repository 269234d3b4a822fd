#include "converter/lower/plan_memory.h"

#include <algorithm>
#include <cstdio>
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

TEST_CASE("any order of stacking keeps live tensors apart") {
  std::mt19937 random(29);
  for (int round = 0; round < 40; ++round) {
    Program program = random_program(random);
    plan_memory(program);
    std::shuffle(program.plan.order.begin(), program.plan.order.end(), random);
    check_no_overlap(program, {{"tokens", 1 + int64_t(random() % 64)},
                               {"rows", 1 + int64_t(random() % 64)},
                               {"past", 0},
                               {"context", 512}});
  }
}

TEST_CASE("the bound is the largest set of tensors alive at once") {
  std::mt19937 random(23);
  for (int round = 0; round < 60; ++round) {
    Program program = random_program(random);
    plan_memory(program);
    const Bindings bindings = {{"tokens", int64_t(1 + random() % 64)},
                               {"rows", int64_t(1 + random() % 64)},
                               {"past", 0},
                               {"context", 512}};
    uint64_t most = 0;
    for (int32_t op = 0; op < int32_t(program.operators.size()); ++op) {
      uint64_t live = 0;
      for (size_t i = 0; i < program.tensors.size(); ++i) {
        if (program.plan.first_use[i] > op || program.plan.last_use[i] < op) continue;
        live += (uint64_t(program.tensors[i].bytes().evaluate(bindings)) + 255) / 256 * 256;
      }
      most = std::max(most, live);
    }
    CHECK(largest_live_set(program, bindings) == most);
    CHECK(evaluate_plan(program, bindings).arena_bytes >= most);
  }
}

TEST_CASE("phone models: arena near the bound, and all of it within 24 GB at prompt 2048") {
  struct Shape {
    const char* name;
    int64_t vocab, hidden, intermediate, layers;
    int32_t heads, kv_heads, head_dim;
    bool tied;
  };
  // From the models' published config.json.
  const Shape shapes[] = {{"Gemma-2B", 256000, 2048, 16384, 18, 8, 1, 256, true},
                          {"LLaMA-2-7B", 32000, 4096, 11008, 32, 32, 32, 128, false},
                          {"Qwen1.5-14B", 152064, 5120, 13696, 40, 40, 40, 128, false}};
  for (const Shape& shape : shapes) {
    test::TinyOptions options;
    options.values = false;
    options.vocab = shape.vocab;
    options.hidden = shape.hidden;
    options.intermediate = shape.intermediate;
    options.layers = shape.layers;
    options.heads = shape.heads;
    options.kv_heads = shape.kv_heads;
    options.head_dim = shape.head_dim;
    options.tied = shape.tied;
    options.activations = DType::f16;
    options.max_context = 4096;
    options.chunk = 512;
    const test::TinyModel model = test::make_tiny_model(options);
    const Program& program = model.manifest.program;
    uint64_t weights = 0;  // m0e4, group 32: 5 bits; vectors f32
    for (const auto& extents : model.shapes) {
      weights += extents.size() == 2 ? uint64_t(extents[0] * extents[1]) * 5 / 8
                                     : uint64_t(extents[0]) * 4;
    }
    for (const int64_t tokens : {1, 512, 2048}) {
      const Bindings bindings = {
          {"tokens", tokens}, {"past", 2048 - tokens}, {"rows", 1}, {"context", 2048}};
      check_no_overlap(program, bindings);
      const EvaluatedPlan plan = evaluate_plan(program, bindings);
      const uint64_t bound = largest_live_set(program, bindings);
      uint64_t states = 0;
      for (const Tensor& tensor : program.tensors) {
        if (tensor.role == TensorRole::state) states += uint64_t(tensor.bytes().evaluate(bindings));
      }
      std::printf(
          "%s, %lld tokens at once: weights %.2f + KV %.2f + arena %.3f GB = %.2f GB; arena "
          "%.3f of the bound, %.4f of all tensors\n",
          shape.name, static_cast<long long>(tokens), double(weights) / 1e9, double(states) / 1e9,
          double(plan.arena_bytes) / 1e9, double(weights + states + plan.arena_bytes) / 1e9,
          double(plan.arena_bytes) / double(bound),
          double(plan.arena_bytes) / double(sum_of_tensors(program, plan)));
      CHECK(double(plan.arena_bytes) <= 1.1 * double(bound));
      CHECK(weights + states + plan.arena_bytes < 24'000'000'000u);
    }
  }
}

TEST_CASE("the body's result survives while the head runs, again and again") {
  const test::TinyModel model = test::make_tiny_model({});
  const Program& program = model.manifest.program;
  const auto hidden = size_t(program.hidden);
  const int32_t first_head = program.segments.back().first_op;
  const EvaluatedPlan plan =
      evaluate_plan(program, {{"tokens", 16}, {"past", 0}, {"rows", 16}, {"context", 256}});
  for (size_t i = 0; i < program.tensors.size(); ++i) {
    if (i == hidden || program.plan.first_use[i] < first_head) continue;
    const bool apart = plan.offset[i] >= plan.offset[hidden] + plan.bytes[hidden] ||
                       plan.offset[i] + plan.bytes[i] <= plan.offset[hidden];
    CHECK(apart);
  }
}
