// The whole way from a real export to logits equals PyTorch.
#include <cmath>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "converter/onnx/import.h"
#include "converter/reference/executor.h"
#include "converter/shape/infer.h"
#include "test/support/catch.h"
#include "test/support/command.h"

using namespace pocket;
using reference::HostTensor;

namespace {

struct Golden {
  std::vector<int64_t> tokens;  // prompt and continuation
  size_t prompt = 0;
  std::vector<float> logits;  // [tokens, vocabulary], PyTorch in float

  explicit Golden(const std::string& folder) {
    const auto json = nlohmann::json::parse(test::read_file(folder + "/golden.json"));
    tokens = json.at("prompt").get<std::vector<int64_t>>();
    prompt = tokens.size();
    const auto rest = json.at("continuation").get<std::vector<int64_t>>();
    tokens.insert(tokens.end(), rest.begin(), rest.end());
    const std::string bytes = test::read_file(folder + "/golden_logits.bin");
    logits.resize(bytes.size() / sizeof(float));
    std::memcpy(logits.data(), bytes.data(), logits.size() * sizeof(float));
  }

  // The largest relative L2 error of a row; `first` is the row of the golden logits.
  double worst_row(const HostTensor& got, size_t first) const {
    const size_t vocabulary = logits.size() / tokens.size();
    REQUIRE(got.f.size() % vocabulary == 0);
    REQUIRE(first * vocabulary + got.f.size() <= logits.size());
    double worst = 0.0;
    for (size_t row = 0; row < got.f.size() / vocabulary; ++row) {
      double error = 0.0, norm = 0.0;
      for (size_t v = 0; v < vocabulary; ++v) {
        const double want = static_cast<double>(logits[(first + row) * vocabulary + v]);
        const double difference = static_cast<double>(got.f[row * vocabulary + v]) - want;
        error += difference * difference;
        norm += want * want;
      }
      worst = std::max(worst, std::sqrt(error / norm));
    }
    return worst;
  }
};

struct Case {
  std::string folder;
  double bound;
};

// Every export in models/. A half-precision one holds rounded weights, while PyTorch computed its
// golden logits from the exact ones.
std::vector<Case> cases() {
  std::vector<Case> out;
  for (const auto& entry : std::filesystem::directory_iterator(POCKET_SOURCE_DIR "/models")) {
    const std::string folder = entry.path().string();
    if (!std::filesystem::exists(folder + "/golden_logits.bin")) continue;
    const auto config = nlohmann::json::parse(test::read_file(folder + "/config.json"));
    const auto dtype = config.value("dtype", config.value("torch_dtype", std::string("float32")));
    out.push_back({folder, dtype == "float32" ? 1e-5 : 5e-3});
  }
  REQUIRE(out.size() >= 3);
  return out;
}

}  // namespace

TEST_CASE("reference logits of the exports equal PyTorch's") {
  for (const Case& c : cases()) {
    INFO(c.folder);
    const Golden golden(c.folder);
    ir::Graph graph = onnx_import::import_model(c.folder);
    shape::infer_shapes(graph);
    CHECK(golden.worst_row(reference::logits(graph, golden.tokens), 0) < c.bound);
  }
}

TEST_CASE("a prompt and single steps through the states give the same logits") {
  for (const Case& c : cases()) {
    INFO(c.folder);
    const Golden golden(c.folder);
    ir::Graph graph = onnx_import::import_model(c.folder);
    shape::infer_shapes(graph);
    std::map<ir::ValueId, HostTensor> states;
    int64_t past = 0;
    const auto step = [&](const std::vector<int64_t>& tokens) {
      auto out = reference::run(graph, reference::decoder_feeds(graph, tokens, states, past));
      for (const ir::StatePair& state : graph.states) {
        states.insert_or_assign(state.past, std::move(out.at(state.present)));
      }
      const auto row = static_cast<size_t>(past);
      past += static_cast<int64_t>(tokens.size());
      CHECK(golden.worst_row(out.at(graph.outputs[0]), row) < c.bound);
    };
    const auto begin = golden.tokens.begin();
    step({begin, begin + static_cast<int64_t>(golden.prompt)});
    for (size_t k = golden.prompt; k < golden.prompt + 5; ++k) step({golden.tokens[k]});
  }
}
