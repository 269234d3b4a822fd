// Property on real exports: the shapes in symbols are those that computing finds, for random
// lengths, and folding changes no number.
#include <filesystem>
#include <random>

#include "converter/onnx/import.h"
#include "converter/reference/executor.h"
#include "converter/shape/infer.h"
#include "test/support/catch.h"

using namespace pocket;
using reference::HostTensor;

namespace {

const char* const kModels[] = {"tiny-gpt2", "tiny-qwen2", "tiny-qwen2-fp16-external"};

ir::Graph import(const std::string& name) {
  return onnx_import::import_model(POCKET_SOURCE_DIR "/models/" + name);
}

// Feeds of `tokens` new ids behind `past` states filled with small numbers.
reference::Feeds random_feeds(const ir::Graph& graph, int64_t tokens, int64_t past,
                              std::mt19937& random) {
  std::vector<int64_t> ids;
  for (int64_t k = 0; k < tokens; ++k) ids.push_back(static_cast<int64_t>(random() % 90));
  std::map<ir::ValueId, HostTensor> states;
  for (const ir::StatePair& state : graph.states) {
    const ir::Value& value = graph.value(state.past);
    reference::Shape shape;
    for (const Expr& dim : *value.shape) {
      shape.push_back(dim.evaluate({{"tokens", tokens}, {"past", past}}));
    }
    HostTensor tensor = HostTensor::make(value.type, shape);
    for (float& x : tensor.f) x = static_cast<float>(random() % 1000) / 500.0f - 1.0f;
    states.emplace(state.past, std::move(tensor));
  }
  return reference::decoder_feeds(graph, ids, states, past);
}

}  // namespace

TEST_CASE("shapes in symbols equal computed shapes for random lengths") {
  std::mt19937 random(7);
  for (const char* name : kModels) {
    ir::Graph graph = import(name);
    const shape::InferReport report = shape::infer_shapes(graph);
    REQUIRE(report.unresolved.empty());
    REQUIRE(report.folded_symbolic > 10);
    for (int round = 0; round < 6; ++round) {
      const auto tokens = static_cast<int64_t>(1 + random() % 7);
      const auto past = round == 0 ? 0 : static_cast<int64_t>(random() % 9);
      INFO(name << " tokens " << tokens << " past " << past);
      const Bindings bindings{{"tokens", tokens}, {"past", past}};
      int compared = 0, wrong = 0;
      reference::RunOptions options;
      options.observer = [&](const ir::Node& node, ir::ValueId id, const HostTensor& tensor) {
        reference::Shape shape;
        for (const Expr& dim : *graph.value(id).shape) shape.push_back(dim.evaluate(bindings));
        ++compared;
        if (shape == tensor.shape && graph.value(id).type == tensor.type) return;
        ++wrong;
        UNSCOPED_INFO(node.op << " " << node.name);
      };
      reference::run(graph, random_feeds(graph, tokens, past, random), options);
      CHECK(wrong == 0);
      CHECK(compared >= report.nodes_after);
    }
  }
}

// What the reference executor computes for a binding, against the shapes in symbols: how many
// values differ. Every value of the graph is looked at.
int wrong_shapes(const ir::Graph& graph, int64_t tokens, int64_t past, std::mt19937& random,
                 int* compared) {
  const Bindings bindings{{"tokens", tokens}, {"past", past}};
  int wrong = 0;
  reference::RunOptions options;
  options.observer = [&](const ir::Node& node, ir::ValueId id, const HostTensor& tensor) {
    reference::Shape shape;
    for (const Expr& dim : *graph.value(id).shape) shape.push_back(dim.evaluate(bindings));
    ++*compared;
    if (shape == tensor.shape && graph.value(id).type == tensor.type) return;
    ++wrong;
    UNSCOPED_INFO(node.op << " " << node.name);
  };
  reference::run(graph, random_feeds(graph, tokens, past, random), options);
  return wrong;
}

TEST_CASE("1000 random bindings: shapes in symbols equal computed shapes") {
  // Every binding is a whole run of the graph, so nothing of the inference checks itself.
  std::mt19937 random(17);
  int models = 0;
  for (const auto& entry : std::filesystem::directory_iterator(POCKET_SOURCE_DIR "/models")) {
    if (!std::filesystem::exists(entry.path() / "model.onnx")) continue;
    const std::string name = entry.path().filename().string();
    onnx_import::ImportReport source;
    ir::Graph graph = onnx_import::import_model(entry.path().string(), &source);
    INFO(name);
    REQUIRE(shape::infer_shapes(graph).unresolved.empty());
    // The bundled model is hundreds of times larger than the fixtures: 50 runs are enough there.
    const bool large = std::filesystem::file_size(entry.path() / "model.onnx") > 2000000;
    const int rounds = large ? 50 : 1000;
    int compared = 0, wrong = 0;
    for (int round = 0; round < rounds; ++round) {
      // Mostly short, now and then as long as the model's context allows.
      const bool is_long = round % 100 == 99;
      const auto tokens = static_cast<int64_t>(1 + random() % (is_long ? 30 : 6));
      const int64_t room = std::min<int64_t>(is_long ? 60 : 12, source.context - tokens);
      const auto past = room < 1 ? 0 : static_cast<int64_t>(random()) % room;
      const int differing = wrong_shapes(graph, tokens, past, random, &compared);
      INFO("tokens " << tokens << " past " << past);
      if (differing > 0) CHECK(differing == 0);
      wrong += differing;
    }
    CHECK(wrong == 0);
    CHECK(compared > 50 * rounds);
    ++models;
  }
  CHECK(models >= 4);
}

TEST_CASE("folding changes no output, with and without a past") {
  std::mt19937 random(11);
  for (const char* name : kModels) {
    const ir::Graph before = import(name);
    ir::Graph after = before;
    const shape::InferReport report = shape::infer_shapes(after);
    CHECK(report.nodes_after < report.nodes_before / 2);
    for (const int64_t past : {0, 3}) {
      INFO(name << " past " << past);
      const reference::Feeds feeds = random_feeds(before, 4, past, random);
      const auto want = reference::run(before, feeds), got = reference::run(after, feeds);
      REQUIRE(want.size() == got.size());
      for (const auto& [id, tensor] : want) {
        CHECK(got.at(id).shape == tensor.shape);
        CHECK(got.at(id).f == tensor.f);
      }
    }
  }
}
