// Every expansion computes what the operator computes: both sides run on the cases of the operator,
// with weights and tables as constants or as inputs.
#include "converter/onnx/expand.h"

#include <set>

#include "converter/shape/infer.h"
#include "runtime/base/error.h"
#include "test/reference/onnx_cases.h"
#include "test/support/catch.h"

using namespace pocket;

namespace {

// Inputs that exports hold as constants.
bool is_parameter(const test::OnnxCase& c, size_t input) {
  const std::string& op = c.node.op;
  if (op == "MatMulNBits") return input > 0;
  if (op == "GatherBlockQuantized") return input != 1;
  if (op == "DequantizeLinear") return true;
  if (op == "DynamicQuantizeMatMul") return input > 0;
  if (op == "RotaryEmbedding" && !c.node.domain.empty()) return input > 1;
  if (op == "GroupQueryAttention") return input == 7 || input == 8;
  return false;
}

// True when nothing of the fused operator is left.
bool check_expansion(const test::OnnxCase& c, float absolute, float relative) {
  INFO(c.name);
  reference::Feeds feeds;
  ir::Graph graph = test::graph_of(c, feeds, [&](size_t k) { return is_parameter(c, k); });
  const auto fused = reference::run(graph, feeds);
  std::vector<reference::HostTensor> want;
  for (const ir::ValueId id : graph.outputs) want.push_back(fused.at(id));
  onnx_import::expand_operators(graph);
  const auto plain = reference::run(graph, feeds);
  for (size_t k = 0; k < want.size(); ++k) {
    CHECK(test::difference(plain.at(graph.outputs[k]), want[k], absolute, relative) == "");
  }
  // The shapes of the plain graph are those of the fused one.
  const shape::InferReport report = shape::infer_shapes(graph);
  CHECK(report.unresolved.empty());
  for (size_t k = 0; k < want.size(); ++k) {
    std::vector<Expr> shape(want[k].shape.begin(), want[k].shape.end());
    CHECK(graph.value(graph.outputs[k]).shape == shape);
  }
  for (const ir::NodeId id : graph.order()) {
    const ir::Node& node = graph.node(id);
    if (node.domain == c.node.domain && node.op == c.node.op) return false;
  }
  return true;
}

}  // namespace

TEST_CASE("expansions of fused operators compute the same") {
  std::set<std::string> expanded;
  for (const test::OnnxCase& c : test::read_onnx_cases("contrib_cases.json")) {
    // What is recovered from dynamic quantisation is more exact than the operator: no comparison.
    if (c.node.op == "DynamicQuantizeMatMul") continue;
    if (check_expansion(c, 1e-5f, 1e-5f)) expanded.insert(c.node.domain + "." + c.node.op);
  }
  for (const char* op :
       {"SkipLayerNormalization", "SkipSimplifiedLayerNormalization", "EmbedLayerNormalization",
        "BiasGelu", "FastGelu", "Gelu", "QuickGelu", "FusedMatMul", "RotaryEmbedding", "Attention",
        "MultiHeadAttention", "GroupQueryAttention", "MatMulNBits", "GatherBlockQuantized"}) {
    INFO(op);
    CHECK(expanded.contains(std::string("com.microsoft.") + op));
  }
  CHECK(expanded.contains(".DequantizeLinear"));
}

TEST_CASE("expansions of standard fused operators compute the same") {
  size_t attentions = 0, rotations = 0;
  for (const test::OnnxCase& c : test::read_onnx_cases()) {
    const bool attention = c.node.op == "Attention", rotation = c.node.op == "RotaryEmbedding";
    if (!attention && !rotation && c.node.op != "Swish") continue;
    // A row that may see nothing is zero in Attention and no row of a decoder.
    if (c.name.find("fullymasked") != std::string::npos) continue;
    if (!check_expansion(c, 1e-5f, 1e-5f)) continue;
    attentions += attention ? 1 : 0;
    rotations += rotation ? 1 : 0;
  }
  CHECK(attentions >= 8);
  CHECK(rotations >= 8);
}

TEST_CASE("expansions of the op vectors compute the same") {
  for (const std::string& file : test::op_vector_files()) {
    const std::vector<test::OnnxCase> cases = test::read_op_vectors(file);
    if (cases.empty()) SKIP("the outside data " << file << " is not here");
    for (const test::OnnxCase& c : cases) {
      CHECK(check_expansion(c, 2e-5f, 2e-5f));
    }
  }
}

TEST_CASE("a recovered product keeps the codes of its weight") {
  for (const test::OnnxCase& c : test::read_onnx_cases("contrib_cases.json")) {
    if (c.node.op != "DynamicQuantizeMatMul") continue;
    reference::Feeds feeds;
    ir::Graph graph = test::graph_of(c, feeds, [&](size_t k) { return is_parameter(c, k); });
    std::vector<std::string> notes;
    REQUIRE(onnx_import::expand_operators(graph, &notes) == 1);
    REQUIRE(notes.size() == 1);
    const auto plain = reference::run(graph, feeds);
    // The dynamic 8-bit rounding of the activations was all that differed.
    CHECK(test::difference(plain.at(graph.outputs[0]), *c.outputs[0], 0.2f, 0.02f) == "");
    int codes = 0;
    for (size_t id = 0; id < graph.value_count(); ++id) {
      const ir::Value& value = graph.value(static_cast<ir::ValueId>(id));
      codes += value.constant && value.constant->quantised ? 1 : 0;
    }
    CHECK(codes == 1);
  }
}

TEST_CASE("the dynamic quantiser's chain of operators becomes one product") {
  ir::Graph graph;
  graph.opset = 18;
  const auto input = [&](const char* name, std::vector<Expr> shape,
                         ir::ElementType type = ir::ElementType::f32) {
    ir::Value value;
    value.name = name;
    value.type = type;
    value.shape = std::move(shape);
    graph.inputs.push_back(graph.add_value(std::move(value)));
    return graph.inputs.back();
  };
  const auto node = [&](const char* op, std::vector<ir::ValueId> inputs, int outputs = 1) {
    ir::Node made;
    made.name = op;
    made.op = op;
    made.inputs = std::move(inputs);
    if (std::string(op) == "Cast") made.attributes["to"] = int64_t{1};
    const ir::NodeId id = graph.add_node(std::move(made));
    for (int k = 0; k < outputs; ++k) graph.add_output(id, op, ir::ElementType::undefined);
    return graph.node(id).outputs;
  };
  const auto constant = [&](ir::ElementType type, std::vector<int64_t> shape,
                            std::vector<int64_t> values) {
    reference::HostTensor tensor =
        reference::HostTensor::integers(std::move(shape), std::move(values));
    tensor.type = type;
    return graph.add_constant("constant", tensor.to_data());
  };
  const ir::ValueId x = input("x", {1, Expr::symbol("tokens"), 3});
  graph.symbols["tokens"] = {1, 8};
  const ir::ValueId codes = constant(ir::ElementType::u8, {3, 2}, {10, 250, 130, 128, 7, 99});
  const ir::ValueId zero = constant(ir::ElementType::u8, {}, {128});
  const ir::ValueId scale = graph.add_constant("scale", ir::TensorData::from_floats({}, {0.01f}));
  const auto quantised = node("DynamicQuantizeLinear", {x}, 3);
  const auto product = node("MatMulInteger", {quantised[0], codes, quantised[2], zero});
  const auto factor = node("Mul", {quantised[1], scale});
  graph.outputs = node("Mul", {node("Cast", product)[0], factor[0]});
  // The table of a quantised embedding: rows of codes are looked up before they are scaled.
  const ir::ValueId ids = input("ids", {1, Expr::symbol("tokens")}, ir::ElementType::i64);
  const auto rows = node("Gather", {codes, ids});
  graph.outputs.push_back(node("DequantizeLinear", {rows[0], scale, zero})[0]);
  // The same rows as the codes of a product, and moved before they are scaled.
  const ir::ValueId second = constant(ir::ElementType::u8, {2, 2}, {140, 100, 3, 250});
  const ir::ValueId second_zero = constant(ir::ElementType::u8, {}, {120});
  const ir::ValueId second_scale =
      graph.add_constant("scale", ir::TensorData::from_floats({}, {0.02f}));
  const auto table_product = node("MatMulInteger", {rows[0], second, zero, second_zero});
  const auto table_factor = node("Mul", {scale, second_scale});
  graph.outputs.push_back(node("Mul", {node("Cast", table_product)[0], table_factor[0]})[0]);
  graph.outputs.push_back(node("DequantizeLinear", {node("Transpose", rows)[0], scale, zero})[0]);
  // Nothing beside the product tells the scale of this table from that of the weight.
  const auto alone = node("Gather", {second, ids});
  const auto alone_product = node("MatMulInteger", {alone[0], second, second_zero, second_zero});
  const auto alone_factor = node("Mul", {second_scale, second_scale});
  graph.outputs.push_back(node("Mul", {node("Cast", alone_product)[0], alone_factor[0]})[0]);

  const reference::Feeds feeds{
      {x, reference::HostTensor::floats({1, 2, 3}, {0.5f, -1.0f, 2.0f, 1.5f, 0.25f, -0.75f})},
      {ids, reference::HostTensor::integers({1, 2}, {1, 0})}};
  const auto before = reference::run(graph, feeds);
  const std::vector<ir::ValueId> before_ids = graph.outputs;
  const reference::HostTensor want = before.at(graph.outputs[0]);
  CHECK(onnx_import::rounds_activations(graph));
  CHECK(onnx_import::expand_operators(graph) == 5);
  CHECK_FALSE(onnx_import::rounds_activations(graph));
  for (const ir::NodeId id : graph.order()) {
    const std::string& op = graph.node(id).op;
    CHECK((op == "MatMul" || op == "Gather" || op == "Transpose"));
  }
  const auto after = reference::run(graph, feeds);
  // 8-bit codes of x are 3 / 255 apart; a product sums three of them.
  CHECK(test::difference(after.at(graph.outputs[0]), want, 0.03f, 0.0f) == "");
  for (const size_t k : {size_t{1}, size_t{2}, size_t{3}, size_t{4}}) {
    CHECK(test::difference(after.at(graph.outputs[k]), before.at(before_ids[k])) == "");
  }
  const float exact = 0.01f * (0.5f * (10 - 128) - 1.0f * (130 - 128) + 2.0f * (7 - 128));
  CHECK(after.at(graph.outputs[0]).f[0] == Approx(exact).epsilon(1e-5));
}

TEST_CASE("options without an expansion are refused by name") {
  test::OnnxCase grouped;
  for (const test::OnnxCase& c : test::read_onnx_cases("contrib_cases.json")) {
    if (c.node.op == "GroupQueryAttention") grouped = c;
  }
  const auto refused = [](const test::OnnxCase& c) {
    reference::Feeds feeds;
    ir::Graph graph = test::graph_of(c, feeds, [](size_t) { return false; });
    try {
      onnx_import::expand_operators(graph);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("not refused");
  };
  test::OnnxCase smooth = grouped;
  smooth.node.attributes["smooth_softmax"] = int64_t{1};
  CHECK_THAT(refused(smooth), Catch::Contains("smooth_softmax"));
  test::OnnxCase rolling = grouped;
  rolling.node.attributes["sliding_window_cache"] = int64_t{1};
  rolling.node.attributes["local_window_size"] = int64_t{-1};
  CHECK_THAT(refused(rolling), Catch::Contains("sliding_window_cache"));
  for (test::OnnxCase c : test::read_onnx_cases("contrib_cases.json")) {
    if (!c.node.attributes.contains("local_window_size")) continue;
    // A rolling cache shows the same rows as the window on a whole one.
    c.node.attributes["sliding_window_cache"] = int64_t{1};
    CHECK(check_expansion(c, 1e-5f, 1e-5f));
  }
  for (const test::OnnxCase& c : test::read_onnx_cases("contrib_cases.json")) {
    if (c.node.op != "MatMulNBits") continue;
    test::OnnxCase ordered = c;
    ordered.inputs.resize(5);
    ordered.inputs[4] = reference::HostTensor::integers({40}, std::vector<int64_t>(40, 0));
    CHECK_THAT(refused(ordered), Catch::Contains("g_idx"));
  }
}
