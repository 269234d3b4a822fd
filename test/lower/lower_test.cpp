#include "converter/lower/lower.h"

#include <algorithm>
#include <cmath>

#include "converter/lower/fusion_report.h"
#include "converter/passes/passes.h"
#include "runtime/base/error.h"
#include "test/lower/program_interpreter.h"
#include "test/passes/decoder_run.h"
#include "test/support/catch.h"

namespace pocket {
namespace {

Lowered lowered_model(const std::string& name) {
  test::Model model = test::load_model(name);
  run_passes(model.graph, {model.context});
  return lower(model.graph, {model.context, 0, 0});
}

std::vector<OpKind> kinds_of(const Program& program, const Segment& segment) {
  std::vector<OpKind> kinds;
  for (int32_t i = 0; i < segment.op_count; ++i) {
    kinds.push_back(program.operators[static_cast<size_t>(segment.first_op + i)].kind);
  }
  return kinds;
}

const LoweredWeight& weight_named(const Lowered& lowered, const std::string& name) {
  const auto found = std::find_if(lowered.weights.begin(), lowered.weights.end(),
                                  [&](const LoweredWeight& w) { return w.name == name; });
  INFO(name);
  REQUIRE(found != lowered.weights.end());
  return *found;
}

TEST_CASE("a lowered program computes what the export computes") {
  for (const std::string& name : test::model_names()) {
    DYNAMIC_SECTION(name) {
      test::Model model = test::load_model(name);
      const std::vector<int64_t> ids{1, 5, 9, 2, 77, 30, 11, 3, 42, 8};
      const auto expected = reference::logits(model.graph, ids);
      run_passes(model.graph, {model.context});
      const Lowered lowered = lower(model.graph, {model.context, 0, 0});
      test::ProgramInterpreter interpreter(lowered, 16);
      // All logits of a chunk, the last row of a longer one, then one token at a time.
      std::vector<float> actual = interpreter.step({1, 5, 9, 2}, 4);
      const auto append = [&](const std::vector<float>& row) {
        actual.insert(actual.end(), row.begin(), row.end());
      };
      append(interpreter.step({77, 30, 11}, 3));
      append(interpreter.step({3}, 1));
      append(interpreter.step({42}, 1));
      append(interpreter.step({8}, 1));
      REQUIRE(actual.size() == expected.f.size());
      double difference = 0, size = 0;
      for (size_t i = 0; i < actual.size(); ++i) {
        difference += std::pow(static_cast<double>(actual[i] - expected.f[i]), 2);
        size += std::pow(static_cast<double>(expected.f[i]), 2);
      }
      CHECK(std::sqrt(difference / size) <= 1e-5);
    }
  }
}

TEST_CASE("segments are the embedding, the layers and the head") {
  using K = OpKind;
  const Lowered gated = lowered_model("tiny-qwen2");
  REQUIRE(gated.program.segments.size() == 4);
  CHECK(kinds_of(gated.program, gated.program.segments[0]) == std::vector{K::embed});
  for (const size_t layer : {1u, 2u}) {
    CHECK(kinds_of(gated.program, gated.program.segments[layer]) ==
          std::vector{K::norm, K::linear, K::rotary_kv, K::attention, K::linear, K::norm,
                      K::gated_linear, K::linear});
  }
  CHECK(kinds_of(gated.program, gated.program.segments[3]) ==
        std::vector{K::select_rows, K::norm, K::linear});
  CHECK(gated.program.segments[3].part == Part::head);

  const Lowered plain = lowered_model("tiny-gpt2");
  CHECK(kinds_of(plain.program, plain.program.segments[1]) ==
        std::vector{K::norm, K::linear, K::rotary_kv, K::attention, K::linear, K::norm, K::linear,
                    K::linear});
}

TEST_CASE("the residual stream and the logits are wide, the rest is half precision") {
  const Lowered lowered = lowered_model("tiny-qwen2");
  const Program& program = lowered.program;
  const auto dtype = [&](TensorId id) { return program.tensors[static_cast<size_t>(id)].dtype; };
  for (const Operator& op : program.operators) {
    INFO(op.name);
    const bool residual = op.kind == OpKind::linear && op.inputs[1] != kNone;
    if (op.kind == OpKind::embed || op.kind == OpKind::select_rows || residual) {
      CHECK(dtype(op.outputs[0]) == DType::f32);
    } else if (op.outputs[0] == program.logits) {
      CHECK(dtype(op.outputs[0]) == DType::f32);
    } else {
      CHECK(dtype(op.outputs[0]) == DType::f16);
    }
    if (op.kind == OpKind::attention) CHECK(dtype(op.inputs[1]) == DType::f16);
  }
  CHECK(program.tensors[static_cast<size_t>(program.hidden)].shape[0] == Expr::symbol("tokens"));
  CHECK(program.tensors[static_cast<size_t>(program.logits)].shape[0] == Expr::symbol("rows"));
}

TEST_CASE("weights have names, shapes and roles") {
  SECTION("tied head, learned positions") {
    const Lowered lowered = lowered_model("tiny-gpt2");
    const LoweredWeight& table = weight_named(lowered, "transformer.wte.weight");
    CHECK(table.role == WeightRole::embedding);
    CHECK(table.tied);
    CHECK(weight_named(lowered, "transformer.wpe.weight").role == WeightRole::positions);
    const LoweredWeight& merged = weight_named(lowered, "transformer.h.0.attn.c_attn.weight");
    CHECK(merged.shape == std::vector<int64_t>{144, 48});
    CHECK(weight_named(lowered, "transformer.h.1.attn.c_attn.bias").shape ==
          std::vector<int64_t>{144});
    CHECK(lowered.program.max_context == 160);
    CHECK(lowered.weights.size() == 2 + 2 * 12 + 2);
  }
  SECTION("own head, merged projections") {
    const Lowered lowered = lowered_model("tiny-qwen2");
    CHECK(!weight_named(lowered, "model.embed_tokens.weight").tied);
    CHECK(weight_named(lowered, "lm_head.weight").role == WeightRole::head);
    const LoweredWeight& merged = weight_named(lowered, "model.layers.0.self_attn.qkv.weight");
    CHECK(merged.shape == std::vector<int64_t>{80, 48});
    CHECK(merged.source.parts().size() == 3);
    CHECK(weight_named(lowered, "model.layers.1.mlp.up.weight").shape ==
          std::vector<int64_t>{88, 48});
    CHECK(weight_named(lowered, "model.norm.weight").role == WeightRole::vector);
  }
}

// An attention that sees the future is no attention that passes recognise.
test::Model with_strange_masks() {
  test::Model model = test::load_model("tiny-qwen2", [](ir::Graph& graph) {
    for (const ir::NodeId id : graph.order()) {
      if (graph.node(id).op == "LessOrEqual") graph.node(id).op = "GreaterOrEqual";
    }
  });
  run_passes(model.graph, {model.context});
  return model;
}

TEST_CASE("what no fused operator computes is lowered plainly and listed") {
  const test::Model model = with_strange_masks();
  const Lowered lowered = lower(model.graph, {model.context, 0, 0});
  std::vector<std::string> softmaxes;
  for (const UnfusedNode& node : lowered.unfused) {
    if (node.op == "Softmax") softmaxes.push_back(node.name);
  }
  CHECK(softmaxes == std::vector<std::string>{"/model/layers.0/self_attn/Softmax",
                                              "/model/layers.1/self_attn/Softmax"});
  const auto& operators = lowered.program.operators;
  CHECK(std::any_of(operators.begin(), operators.end(),
                    [](const Operator& op) { return op.kind == OpKind::generic; }));
}

TEST_CASE("what no operator computes is listed by name, all at once") {
  test::Model model = with_strange_masks();
  for (const ir::NodeId id : model.graph.order()) {
    if (model.graph.node(id).op == "Softmax") model.graph.node(id).op = "Hardmax";
  }
  try {
    lower(model.graph, {model.context, 0, 0});
    FAIL("an operator without any form was lowered");
  } catch (const Error& error) {
    const std::string text = error.what();
    CHECK(error.code == ExitCode::bad_input);
    CHECK(text.find("Hardmax: /model/layers.0/self_attn/Softmax, "
                    "/model/layers.1/self_attn/Softmax") != std::string::npos);
  }
}

TEST_CASE("fusion is counted in dispatches per layer") {
  test::Model model = test::load_model("tiny-qwen2");
  const DispatchCounts before = count_before_fusion(model.graph);
  run_passes(model.graph, {model.context});
  const DispatchCounts after =
      count_after_fusion(lower(model.graph, {model.context, 0, 0}).program);
  REQUIRE(before.per_layer.size() == 2);
  CHECK(before.per_layer[0] == before.per_layer[1]);
  CHECK(before.per_layer[0] > 40);
  CHECK(after.per_layer == std::vector<int64_t>{8, 8});
  CHECK(after.total() == 8 + 8 + 1 + 3);
}

}  // namespace
}  // namespace pocket
