// Every pass on every real export: the reference executor computes the same before and after.
#include <algorithm>
#include <map>

#include "converter/passes/passes.h"
#include "test/passes/decoder_run.h"
#include "test/support/catch.h"

namespace pocket {
namespace {

// Operators that are left after all passes, by name.
std::map<std::string, int> operators_of(const ir::Graph& graph) {
  std::map<std::string, int> counts;
  for (const ir::NodeId id : graph.order()) ++counts[graph.node(id).op];
  return counts;
}

PassReport run_and_compare(test::Model& model, double tolerance) {
  const auto before = test::two_steps(model.graph);
  PassHooks hooks;
  hooks.after_pass = [&](const std::string& pass, int hits, const ir::Graph& graph) {
    if (hits == 0) return;
    graph.verify();
    const double distance = test::worst_distance(before, test::two_steps(graph));
    INFO(pass << " changed " << hits << " places, distance " << distance);
    CHECK(distance <= tolerance);
  };
  return run_passes(model.graph, {model.context}, hooks);
}

int hits_of(const PassReport& report, const std::string& name) {
  const auto hit = std::find_if(report.hits.begin(), report.hits.end(),
                                [&](const PassReport::Hit& h) { return h.pass == name; });
  REQUIRE(hit != report.hits.end());
  return hit->count;
}

TEST_CASE("every pass keeps what the exports compute") {
  for (const std::string& name : test::model_names()) {
    DYNAMIC_SECTION(name) {
      test::Model model = test::load_model(name);
      const auto layers = static_cast<int>(model.graph.states.size() / 2);
      const PassReport report = run_and_compare(model, 1e-5);
      CHECK(report.notes.empty());
      CHECK(hits_of(report, "fuse-attention") == layers);
      CHECK(hits_of(report, "fuse-norm") == 2 * layers + 1);
      CHECK(hits_of(report, "fuse-linear-residual") == 2 * layers);
      CHECK(hits_of(report, "split-head") == 1);
      for (const ir::NodeId id : model.graph.order()) {
        const ir::Node& node = model.graph.node(id);
        INFO(node.op << " " << node.name);
        CHECK(node.domain == "pocket");
      }
    }
  }
}

TEST_CASE("what is left of the exports is what their layers need") {
  SECTION("merged projection, learned positions, plain feed-forward") {
    test::Model model = test::load_model("tiny-gpt2");
    run_passes(model.graph, {model.context});
    const std::map<std::string, int> expected = {
        {"Embed", 1}, {"Norm", 5}, {"Linear", 9}, {"Attention", 2}, {"SelectRows", 1}};
    CHECK(operators_of(model.graph) == expected);
  }
  SECTION("separate projections, rotary embedding, gated feed-forward") {
    test::Model model = test::load_model("tiny-qwen2");
    run_passes(model.graph, {model.context});
    const std::map<std::string, int> expected = {{"Embed", 1},     {"Norm", 5},
                                                 {"Linear", 7},    {"GatedLinear", 2},
                                                 {"Attention", 2}, {"SelectRows", 1}};
    CHECK(operators_of(model.graph) == expected);
  }
}

}  // namespace
}  // namespace pocket
