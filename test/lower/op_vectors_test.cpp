// The op vectors of the outside data, expanded into plain operators and computed by the Vulkan
// kernels: equal to the numbers that come with them.
#include "converter/onnx/expand.h"
#include "converter/shape/infer.h"
#include "test/lower/generic_run.h"
#include "test/reference/onnx_cases.h"
#include "test/support/catch.h"

namespace pocket::test {
namespace {

// Inputs that exports hold as constants.
bool is_parameter(const OnnxCase& c, size_t input) {
  const std::string& op = c.node.op;
  if (op == "MatMulNBits") return input > 0;
  if (op == "GatherBlockQuantized") return input != 1;
  if (op == "RotaryEmbedding") return input > 1;
  if (op == "GroupQueryAttention") return input == 7 || input == 8;
  return false;
}

}  // namespace

TEST_CASE("the op vectors pass through the Vulkan kernels") {
  size_t passed = 0;
  for (const std::string& file : op_vector_files()) {
    const std::vector<OnnxCase> cases = read_op_vectors(file);
    if (cases.empty()) SKIP("the outside data " << file << " is not here");
    for (const OnnxCase& c : cases) {
      CAPTURE(file, c.name);
      reference::Feeds feeds;
      ir::Graph graph = graph_of(c, feeds, [&](size_t k) { return is_parameter(c, k); });
      onnx_import::expand_operators(graph);
      shape::require_resolved(shape::infer_shapes(graph));
      graph.remove_dead();
      REQUIRE(!graph.order().empty());  // nothing is folded away: kernels compute
      GenericRun run(graph);
      REQUIRE(!run.program().operators.empty());
      const auto results = run.on_device({1, 0}, feeds);
      const auto expected = reference::run(graph, feeds);
      size_t made = 0;
      for (const auto& want : c.outputs) {
        if (!want) continue;
        // The vectors have four digits; the reference executor has all of them.
        CHECK(difference(results.at(made), *want, 2e-4f, 2e-4f) == "");
        const auto& exact = expected.at(graph.outputs[made]);
        CHECK(difference(results.at(made++), exact, 2e-5f, 2e-5f) == "");
      }
      REQUIRE(made > 0);
      ++passed;
    }
  }
  CHECK(passed == 58);  // all that the six files hold
}

}  // namespace pocket::test
