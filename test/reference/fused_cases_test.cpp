// ONNX Runtime's fused operators against its own results and against op vectors of other people.
#include <set>

#include "converter/ir/operators.h"
#include "test/reference/onnx_cases.h"
#include "test/support/catch.h"

using namespace pocket;

namespace {

void check_case(const test::OnnxCase& c, float absolute, float relative) {
  INFO(c.name);
  reference::Feeds feeds;
  const ir::Graph graph = test::graph_of(c, feeds, [](size_t) { return false; });
  const auto results = reference::run(graph, feeds);
  size_t made = 0;
  for (const auto& want : c.outputs) {
    if (want)
      CHECK(test::difference(results.at(graph.outputs[made++]), *want, absolute, relative) == "");
  }
  CHECK(made > 0);
}

}  // namespace

TEST_CASE("fused operators equal ONNX Runtime's results") {
  std::set<std::string> seen;
  for (const test::OnnxCase& c : test::read_onnx_cases("contrib_cases.json")) {
    // ONNX Runtime computes with its own exp, tanh and 8-bit products.
    check_case(c, 2e-5f, 2e-5f);
    seen.insert(c.node.op);
  }
  for (const ir::OperatorInfo& row : ir::operators()) {
    if (row.domain != std::string("com.microsoft") || row.op == std::string("QuantizeLinear")) {
      continue;
    }
    INFO(row.op);
    CHECK(seen.contains(row.op));
  }
}

TEST_CASE("op vectors of onnxruntime-web") {
  size_t count = 0;
  for (const std::string& file : test::op_vector_files()) {
    const std::vector<test::OnnxCase> cases = test::read_op_vectors(file);
    if (cases.empty()) SKIP("the outside data " << file << " is not here");
    // Their numbers have four to eight digits.
    for (const test::OnnxCase& c : cases) check_case(c, 2e-4f, 2e-4f);
    count += cases.size();
  }
  CHECK(count == 58);
}
