// Every operator of the table against the numbers of onnx's own node tests.
#include "test/reference/onnx_cases.h"

#include <set>

#include "converter/ir/operators.h"
#include "test/support/catch.h"

using namespace pocket;

namespace {

bool close(float a, float b) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  if (std::isinf(a) || std::isinf(b)) return a == b;
  return std::fabs(a - b) <= 2e-6f + 4e-6f * std::fabs(b);
}

}  // namespace

TEST_CASE("reference functions equal onnx's node tests") {
  std::set<std::string> seen;
  for (const test::OnnxCase& c : test::read_onnx_cases()) {
    INFO(c.name);
    reference::Feeds feeds;
    const ir::Graph graph = test::graph_of(c, feeds, [](size_t) { return false; });
    if (c.node.text("equation", "").find("...") != std::string::npos) {
      CHECK_THROWS_WITH(reference::run(graph, feeds), Catch::Contains("ellipsis"));
      continue;
    }
    const auto results = reference::run(graph, feeds);
    size_t made = 0;
    for (size_t k = 0; k < c.outputs.size(); ++k) {
      if (!c.outputs[k]) continue;
      const reference::HostTensor& got = results.at(graph.outputs[made++]);
      const reference::HostTensor& want = *c.outputs[k];
      REQUIRE(got.shape == want.shape);
      REQUIRE(got.is_integer() == want.is_integer());
      REQUIRE(got.i == want.i);
      REQUIRE(got.f.size() == want.f.size());
      size_t wrong = 0;
      for (size_t i = 0; i < want.f.size(); ++i) wrong += close(got.f[i], want.f[i]) ? 0 : 1;
      CHECK(wrong == 0);
    }
    seen.insert(c.node.op);
  }
  // What onnx tests only with other types or larger tensors is in operators_test.cpp.
  const std::set<std::string> elsewhere{"Cast", "CastLike", "Erf", "Mish",
                                        "SimplifiedLayerNormalization"};
  for (const ir::OperatorInfo& row : ir::operators()) {
    INFO(row.op);
    if (*row.domain == '\0') CHECK((seen.contains(row.op) || elsewhere.contains(row.op)));
  }
}
