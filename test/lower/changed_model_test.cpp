// A real export with blocks in other forms: ONNX Runtime's fused activations and the subgraphs that
// exporters write for them, and a projection between the embedding and the learned positions, with
// and without a past. Converted, and run on the device in prefill, chunks and decode.
#include "test/lower/changed_model.h"

#include <algorithm>
#include <random>

#include "converter/lower/lower.h"
#include "converter/onnx/expand.h"
#include "converter/passes/passes.h"
#include "converter/shape/infer.h"
#include "runtime/engine/session.h"
#include "test/passes/decoder_run.h"
#include "test/support/catch.h"
#include "test/support/command.h"

namespace pocket::test {
namespace {

using ir::ValueId;

constexpr int64_t kContext = 32;
constexpr const char* kMicrosoft = "com.microsoft";
const std::vector<int64_t> kIds{1, 5, 9, 2, 77, 30, 11, 3, 42, 8, 90, 7, 19, 60, 33, 4, 2};

// Every row of logits, however the tokens are split into a prompt and steps.
void check_on_device(const Lowered& lowered, const std::vector<float>& expected) {
  static Instance instance;
  static Device device(instance, DeviceOptions{.cache_folder = "-"});
  const TemporaryFolder folder;
  const std::string path = (folder.path() / "changed.pocket").string();
  write_f32(lowered, path);
  EngineOptions options;
  options.context = kContext;
  options.chunk = 5;
  options.poison = true;
  Engine engine(device, Package::open(path), options);
  const std::vector<int32_t> tokens(kIds.begin(), kIds.end());
  for (const int64_t decode_from : {-1, 7, 0}) {
    CAPTURE(decode_from);
    CHECK(distance(engine.logits(tokens, decode_from), expected) < 2e-3);
  }
}

struct Form {
  const char* name;
  Activation expected;
  bool has_bias;
  ValueId (*write)(ir::Graph&, ValueId x, ValueId bias);
};

ValueId number(ir::Graph& graph, float value) {
  return graph.add_constant("number", ir::TensorData::from_floats({}, {value}));
}

const std::vector<Form>& forms() {
  static const std::vector<Form> kForms = {
      {"QuickGelu", Activation::quick_gelu, false,
       [](ir::Graph& g, ValueId x, ValueId) { return add_node(g, "QuickGelu", {x}, kMicrosoft); }},
      {"x * sigmoid(1.702 x)", Activation::quick_gelu, false,
       [](ir::Graph& g, ValueId x, ValueId) {
         const ValueId steep = add_node(g, "Mul", {x, number(g, 1.702f)});
         return add_node(g, "Mul", {x, add_node(g, "Sigmoid", {steep})});
       }},
      {"FastGelu", Activation::gelu_tanh, false,
       [](ir::Graph& g, ValueId x, ValueId) { return add_node(g, "FastGelu", {x}, kMicrosoft); }},
      {"FastGelu with a bias", Activation::gelu_tanh, true,
       [](ir::Graph& g, ValueId x, ValueId bias) {
         return add_node(g, "FastGelu", {x, bias}, kMicrosoft);
       }},
      {"BiasGelu", Activation::gelu_erf, true,
       [](ir::Graph& g, ValueId x, ValueId bias) {
         return add_node(g, "BiasGelu", {x, bias}, kMicrosoft);
       }},
      {"Gelu", Activation::gelu_erf, false,
       [](ir::Graph& g, ValueId x, ValueId) { return add_node(g, "Gelu", {x}, kMicrosoft); }},
  };
  return kForms;
}

std::vector<float> random_numbers(uint32_t seed, int64_t count, float size) {
  std::mt19937 random(seed);
  std::vector<float> numbers(static_cast<size_t>(count));
  for (float& x : numbers) x = size * (static_cast<float>(random() % 2001) / 1000.0f - 1.0f);
  return numbers;
}

void change_activations(ir::Graph& graph, const Form& form) {
  constexpr int64_t kWidth = 192;  // of the MLP of tiny-gpt2
  for (const int layer : {0, 1}) {
    const std::string mlp = "/transformer/h." + std::to_string(layer) + "/mlp/";
    const ValueId bias = graph.add_constant(
        "bias", ir::TensorData::from_floats({kWidth}, random_numbers(11, kWidth, 1.0f)));
    ValueId x = graph.find(mlp + "c_fc/Reshape_1_output_0");
    if (form.has_bias) {  // in the place of the projection's own
      const std::string block = "transformer.h." + std::to_string(layer);
      const ValueId rows = graph.find("/transformer/h." + std::to_string(layer) +
                                      "/ln_2/LayerNormalization_output_0");
      x = add_node(graph, "MatMul", {rows, graph.find(block + ".mlp.c_fc.weight")});
    }
    REQUIRE(x != ir::kAbsent);
    replace_value(graph, mlp + "act/Mul_3_output_0",
                  [&](ValueId) { return form.write(graph, x, bias); });
  }
}

// Token rows times a matrix; positions are counted by the mask and moved by two.
void project_embedding(ir::Graph& graph) {
  constexpr int64_t kWidth = 48;
  const auto integers = [&](std::vector<int64_t> shape, std::vector<int64_t> values) {
    return graph.add_constant("integers",
                              ir::TensorData::from_integers(std::move(shape), std::move(values)));
  };
  const ValueId matrix = graph.add_constant(
      "project_in.weight",
      ir::TensorData::from_floats({kWidth, kWidth}, random_numbers(3, kWidth * kWidth, 0.3f)));
  replace_value(graph, "/transformer/wte/Gather_output_0", [&](ValueId rows) {
    return add_node(graph, "MatMul", {rows, matrix});
  });
  const ValueId counted =
      add_node(graph, "CumSum", {graph.find("attention_mask"), integers({}, {1})});
  const ValueId length = add_node(graph, "Shape", {graph.find("input_ids")});
  const ValueId tokens = add_node(graph, "Gather", {length, integers({1}, {1})});
  const ValueId last = add_node(
      graph, "Slice",
      {counted, add_node(graph, "Neg", {tokens}), integers({1}, {INT32_MAX}), integers({1}, {1})});
  const ValueId places = add_node(graph, "Add", {last, integers({}, {1})});
  replace_value(graph, "position_ids", [&](ValueId) { return places; });
}

// The same graph without inputs and outputs for keys and values.
void forget_past(ir::Graph& graph) {
  for (const ir::StatePair& state : graph.states) {
    ir::Value& past = graph.value(state.past);
    for (Expr& extent : *past.shape) extent = extent.substitute("past", 0);
    std::vector<int64_t> shape;
    for (const Expr& extent : *past.shape) shape.push_back(extent.constant());
    past.constant = ir::TensorData::from_floats(shape, {});
    std::erase(graph.inputs, state.past);
    std::erase(graph.outputs, state.present);
    const ir::Node& append = *graph.producer(state.present);
    REQUIRE(append.op == "Concat");
    graph.replace_uses(state.present, append.inputs.at(1));
  }
  graph.states.clear();
  graph.symbols.erase("past");
  for (const ValueId input : graph.inputs) {
    for (Expr& extent : *graph.value(input).shape) extent = extent.substitute("past", 0);
  }
}

}  // namespace

TEST_CASE("fused activations run on the device as their graph says") {
  const auto original = reference::logits(load_model("tiny-gpt2").graph, kIds);
  for (const Form& form : forms()) {
    CAPTURE(form.name);
    const auto change = [&](ir::Graph& graph) { change_activations(graph, form); };
    // The fused operators themselves, before anything is expanded.
    const auto expected = reference::logits(load_model("tiny-gpt2", change).graph, kIds);
    if (std::string(form.name) != "FastGelu") CHECK(distance(expected.f, original.f) > 1e-4);

    Model model = load_model("tiny-gpt2", [&](ir::Graph& graph) {
      change(graph);
      onnx_import::expand_operators(graph);
    });
    run_passes(model.graph, {model.context});
    const Lowered lowered = lower(model.graph, {model.context, kContext, 0});
    CHECK(lowered.unfused.empty());
    int inside = 0;
    for (const Operator& op : lowered.program.operators) {
      inside += op.kind == OpKind::linear && op.attributes.activation == form.expected ? 1 : 0;
    }
    CHECK(inside == 2);

    check_on_device(lowered, expected.f);
  }
}

// OPT-350m keeps its embedding narrower than its layers; learned positions are added behind the
// projection, two rows further in their table.
TEST_CASE("learned positions beside a projected embedding run on the device, with and without KV") {
  const bool remembers = GENERATE(true, false);
  CAPTURE(remembers);
  const auto change = [&](ir::Graph& graph) {
    project_embedding(graph);
    if (!remembers) forget_past(graph);
  };
  const auto expected = reference::logits(load_model("tiny-gpt2", change).graph, kIds);
  Model model = load_model("tiny-gpt2", [&](ir::Graph& graph) {
    change(graph);
    onnx_import::expand_operators(graph);
  });
  CHECK(model.graph.states.empty() == !remembers);
  run_passes(model.graph, {model.context});
  const Lowered lowered = lower(model.graph, {model.context, kContext, 0});
  CHECK(lowered.unfused.empty());
  const auto& operators = lowered.program.operators;
  CHECK(std::count_if(operators.begin(), operators.end(), [](const Operator& op) {
          return op.kind == OpKind::embed && op.weights[0] == kNone &&
                 op.attributes.position_offset == 2;
        }) == 1);
  CHECK(std::none_of(operators.begin(), operators.end(), [](const Operator& op) {
    return op.kind == OpKind::binary;  // the sum is the projection's residual
  }));
  const std::vector<std::string> features = required_features(lowered.program);
  CHECK(std::count(features.begin(), features.end(), "positions_alone") == 1);
  check_on_device(lowered, expected.f);
}

}  // namespace pocket::test
