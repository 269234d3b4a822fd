// A model with a block that no pass knows, in the middle of known ones: it converts, is slower, and
// computes what its graph computes, in prefill, in chunks and in decode.
#include <set>

#include "converter/lower/lower.h"
#include "converter/passes/passes.h"
#include "converter/verify_chunks.h"
#include "runtime/base/error.h"
#include "runtime/engine/session.h"
#include "runtime/kernels/host_executor.h"
#include "runtime/kernels/selftest.h"
#include "test/lower/changed_model.h"
#include "test/passes/decoder_run.h"
#include "test/support/catch.h"
#include "test/support/command.h"

namespace pocket::test {
namespace {

using ir::ValueId;

constexpr int64_t kContext = 32;

ValueId integer(ir::Graph& graph, int64_t value) {
  return graph.add_constant("number", ir::TensorData::from_integers({}, {value}));
}

// Every fifth key is hidden from everybody, and the first MLP is gated by its own running sum.
void make_unknown(ir::Graph& graph) {
  const ValueId keys = graph.find("/model/Unsqueeze_8_output_0");
  replace_value(graph, "/model/LessOrEqual_output_0", [&](ValueId seen) {
    const ValueId fifth = add_node(graph, "Mod", {keys, integer(graph, 5)});
    const ValueId hidden = add_node(graph, "Equal", {fifth, integer(graph, 3)});
    return add_node(graph, "And", {seen, add_node(graph, "Not", {hidden})});
  });
  replace_value(graph, "/model/layers.0/mlp/Mul_output_0", [&](ValueId x) {
    const ValueId sum = add_node(graph, "CumSum", {x, integer(graph, 2)});
    return add_node(graph, "Mul", {x, add_node(graph, "Sigmoid", {sum})});
  });
}

}  // namespace

TEST_CASE("a model with unknown blocks runs as its graph says") {
  const std::vector<int64_t> ids{1, 5, 9, 2, 77, 30, 11, 3, 42, 8, 100, 7, 19, 60, 33, 4, 2};
  const std::vector<int32_t> tokens(ids.begin(), ids.end());
  const auto known = reference::logits(load_model("tiny-qwen2").graph, ids);
  Model model = load_model("tiny-qwen2", make_unknown);
  const auto expected = reference::logits(model.graph, ids);
  REQUIRE(distance(expected.f, known.f) > 0.02);  // the blocks do change the model

  run_passes(model.graph, {model.context});
  const Lowered lowered = lower(model.graph, {model.context, kContext, 0});
  int generic = 0, fused = 0;
  for (const Operator& op : lowered.program.operators) {
    (op.kind == OpKind::generic ? generic : fused) += 1;
  }
  CHECK(generic > 20);
  CHECK(fused > 8);

  const TemporaryFolder folder;
  const std::string path = (folder.path() / "unknown.pocket").string();
  write_f32(lowered, path);
  const Package package = Package::open(path);

  SECTION("on the host, in chunks") {
    for (const int64_t chunk : {int64_t{64}, int64_t{5}, int64_t{1}}) {
      HostExecutor::Options options;
      options.context = kContext;
      options.chunk = chunk;
      HostExecutor host(package, options);
      CHECK(distance(host.append(tokens), expected.f) < 2e-3);
    }
  }
  SECTION("on the device: prefill, chunks, decode, and after a rewind") {
    static Instance instance;
    Device device(instance, DeviceOptions{.cache_folder = "-"});
    EngineOptions options;
    options.context = kContext;
    options.chunk = 5;
    options.poison = true;
    Engine engine(device, Package::open(path), options);
    for (const int64_t decode_from : {-1, 7, 0}) {
      CAPTURE(decode_from);
      CHECK(distance(engine.logits(tokens, decode_from), expected.f) < 2e-3);
    }
    engine.rewind(4);
    CHECK(distance(engine.logits(tokens, 10), expected.f) < 2e-3);
  }
  SECTION("the self-test covers the kernels of the blocks") {
    static Instance instance;
    Device device(instance, DeviceOptions{.cache_folder = "-"});
    SelftestOptions options;
    options.context = kContext;
    options.chunk = 5;
    options.repetitions = 2;
    const SelftestResult result = selftest(device, package, options);
    INFO(result.failure());
    CHECK(result.passed());
    std::set<std::string> kernels;
    for (const SelftestEntry& entry : result.entries) kernels.insert(entry.kernel);
    CHECK(kernels.contains("generic_map"));
    CHECK(kernels.contains("generic_reduce"));
    CHECK(kernels.contains("generic_softmax"));
  }
}

TEST_CASE("an unknown block that looks ahead is refused, a causal one is not") {
  Model causal = load_model("tiny-qwen2", make_unknown);
  run_passes(causal.graph, {causal.context});
  CHECK_NOTHROW(require_chunks_agree(causal.graph));

  Model ahead = load_model("tiny-qwen2", [](ir::Graph& graph) {
    for (const ir::NodeId id : graph.order()) {
      if (graph.node(id).op == "LessOrEqual") graph.node(id).op = "GreaterOrEqual";
    }
  });
  run_passes(ahead.graph, {ahead.context});
  CHECK_NOTHROW(lower(ahead.graph, {ahead.context, kContext, 0}));
  try {
    require_chunks_agree(ahead.graph);
    FAIL("an attention that sees the future was accepted");
  } catch (const Error& error) {
    CHECK(error.code == ExitCode::bad_input);
    CHECK(std::string(error.what()).find("in chunks") != std::string::npos);
  }
}

}  // namespace pocket::test
