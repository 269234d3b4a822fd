// Export forms: real graphs of other people, packed states, pairs without names, and refusals of
// graphs that are no decoders.
#include <filesystem>
#include <nlohmann/json.hpp>

#include "converter/onnx/decoder_check.h"
#include "converter/onnx/expand.h"
#include "converter/onnx/import.h"
#include "converter/reference/executor.h"
#include "converter/shape/infer.h"
#include "runtime/base/error.h"
#include "test/onnx/imported.h"
#include "test/support/catch.h"

using namespace pocket;
using onnx_import::import_model;
using reference::HostTensor;
using test::count_of;
using test::imported;
using test::ModelBuilder;
using test::text_of;

namespace {

const std::string kExports = POCKET_SHARED_DATA "/onnx/exports/";

bool present() { return std::filesystem::exists(kExports); }

// All logits of a prompt and of single steps behind it.
std::vector<float> run_in_steps(const ir::Graph& graph, const std::vector<int64_t>& tokens,
                                size_t prompt) {
  std::vector<float> out;
  std::map<ir::ValueId, HostTensor> states;
  for (size_t at = 0; at < tokens.size();) {
    const size_t count = at == 0 ? prompt : 1;
    const std::vector<int64_t> part(tokens.begin() + static_cast<std::ptrdiff_t>(at),
                                    tokens.begin() + static_cast<std::ptrdiff_t>(at + count));
    auto made = reference::run(
        graph, reference::decoder_feeds(graph, part, states, static_cast<int64_t>(at)));
    const HostTensor& logits = made.at(graph.outputs[0]);
    out.insert(out.end(), logits.f.begin(), logits.f.end());
    for (const ir::StatePair& state : graph.states) {
      states.insert_or_assign(state.past, made.at(state.present));
    }
    at += count;
  }
  return out;
}

}  // namespace

TEST_CASE("ONNX Runtime's optimised decoder with packed past runs like ONNX Runtime") {
  if (!present()) SKIP("the outside exports are not here");
  const std::string folder = kExports + "genai-tiny-gpt2";
  const auto golden =
      nlohmann::json::parse(test::read_file(POCKET_SOURCE_DIR "/test/onnx/genai_tiny_gpt2.json"));
  const auto tokens = golden.at("tokens").get<std::vector<int64_t>>();
  const auto prompt = golden.at("prefill").get<size_t>();
  onnx_import::ImportOptions as_is;
  as_is.expand_operators = false;
  const ir::Graph fused = import_model(folder, nullptr, as_is);
  ir::Graph plain = import_model(folder);
  REQUIRE(plain.states.size() == 10);  // five packed pairs
  onnx_import::require_decoder(plain);
  CHECK(count_of(fused, "Attention") == 5);
  for (const ir::NodeId id : plain.order()) CHECK(plain.node(id).domain == "");
  CHECK(shape::infer_shapes(plain).unresolved.empty());
  for (const ir::StatePair& state : plain.states) {
    CHECK(ir::shape_text(*plain.value(state.past).shape) == "[1, 4, past, 8]");
    CHECK(ir::shape_text(*plain.value(state.present).shape) == "[1, 4, past + tokens, 8]");
    // Nothing stands between a state and what is appended to it.
    const ir::Node* append = plain.producer(state.present);
    REQUIRE(append != nullptr);
    CHECK(append->op == "Concat");
    CHECK(append->inputs[0] == state.past);
  }
  const std::vector<float> want = run_in_steps(fused, tokens, prompt);
  const std::vector<float> got = run_in_steps(plain, tokens, prompt);
  REQUIRE(want.size() == tokens.size() * 1000);
  REQUIRE(got.size() == want.size());
  float worst = 0;
  for (size_t k = 0; k < want.size(); ++k) worst = std::max(worst, std::fabs(want[k] - got[k]));
  CHECK(worst < 2e-6f);
  for (size_t row = 0; row < tokens.size(); ++row) {
    const auto first = golden.at("first").at(row).get<std::vector<float>>();
    for (size_t k = 0; k < first.size(); ++k) {
      CHECK(got[row * 1000 + k] == Approx(first[k]).margin(2e-5));
    }
  }
}

TEST_CASE("graphs of other exporters get shapes in symbols, or a sentence") {
  if (!present()) SKIP("the outside exports are not here");
  onnx_import::ImportOptions absent;
  absent.external_data_may_be_absent = true;
  SECTION("a misleading symbol of the ids is overruled with a warning") {
    onnx_import::ImportReport report;
    ir::Graph graph =
        import_model(kExports + "model_microsoft_Phi-3_5-mini-instruct-custom-default-d1rt1.onnx",
                     &report, absent);
    onnx_import::require_decoder(graph);
    REQUIRE(graph.states.size() == 4);  // paired by structure: the outputs are output_1 ...
    CHECK(shape::infer_shapes(graph).unresolved.empty());
    CHECK(text_of(graph, "input_ids") == "[1, tokens]");
    CHECK(text_of(graph, "attention_mask") == "[1, past + tokens]");
    CHECK(ir::shape_text(*graph.value(graph.outputs[0]).shape) == "[1, tokens, 32064]");
    CHECK(ir::shape_text(*graph.value(graph.outputs[1]).shape) == "[1, 32, past + tokens, 96]");
    std::string notes;
    for (const std::string& note : report.notes) notes += note;
    CHECK_THAT(notes, Catch::Contains("is taken as tokens"));
    for (const ir::StatePair& state : graph.states) {
      CHECK(graph.producer(state.present)->inputs[0] == state.past);  // no empty operand left
    }
  }
  SECTION("a graph of one length without a past") {
    ir::Graph graph = import_model(kExports + "llama_export_dynamic.onnx", nullptr, absent);
    onnx_import::require_language_model(graph);
    CHECK(shape::infer_shapes(graph).unresolved.empty());
    CHECK(ir::shape_text(*graph.value(graph.outputs[0]).shape) == "[1, 1024, 16]");
    CHECK_THROWS_WITH(onnx_import::require_decoder(graph),
                      Catch::Contains("text-generation-with-past"));
  }
  SECTION("a training graph") {
    const auto refusal = [&]() -> std::string {
      try {
        onnx_import::require_language_model(
            import_model(kExports + "llama_forward.onnx", nullptr, absent));
      } catch (const Error& error) {
        return error.what();
      }
      return "";
    };
    CHECK_THAT(refusal(), Catch::Contains("training graph"));
  }
}

TEST_CASE("graphs that are no decoders are refused in a sentence") {
  const auto refusal = [](const std::string& name, const std::vector<std::string>& dims, int type) {
    ModelBuilder m;
    m.input(name, dims, type);
    m.node("Identity", {name}, {"y"});
    m.output("y");
    try {
      onnx_import::require_decoder(imported(m));
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  CHECK_THAT(refusal("pixel_values", {"b", "3", "h", "w"}, 1), Catch::Contains("pixel_values"));
  CHECK_THAT(refusal("encoder_hidden_states", {"b", "s", "64"}, 1), Catch::Contains("encoder"));
  CHECK_THAT(refusal("x", {"b", "s"}, 1), Catch::Contains("no input of token ids"));
  CHECK_THAT(refusal("input_ids", {"1", "7"}, 7), Catch::Contains("fixed number of tokens"));
  // Without a past it converts, if nothing is left that could look back without a state.
  CHECK(refusal("input_ids", {"b", "s"}, 7) == "");
  CHECK_NOTHROW(onnx_import::require_recognised_states(0));
  CHECK_THROWS_WITH(onnx_import::require_recognised_states(2),
                    Catch::Contains("past keys and values and 2 of its operators"));
}

TEST_CASE("a scalar count of logits becomes a constant") {
  ModelBuilder m;
  m.input("input_ids", {"b", "s"}, 7);
  m.input("num_logits_to_keep", {}, 7);
  m.node("Add", {"input_ids", "num_logits_to_keep"}, {"y"});
  m.output("y");
  onnx_import::ImportReport report;
  const ir::Graph graph = imported(m, &report);
  CHECK(graph.inputs.size() == 1);
  CHECK(reference::run(graph, {{graph.inputs[0], HostTensor::integers({1, 1}, {4})}})
            .at(graph.outputs[0])
            .i == std::vector<int64_t>{4});
}

TEST_CASE("of a pair of decoders the one with a past is taken") {
  ModelBuilder first, second;
  for (ModelBuilder* m : {&first, &second}) {
    m->input("input_ids", {"b", "s"}, 7);
    m->node(m == &first ? "Abs" : "Neg", {"input_ids"}, {"y"});
    m->output("y");
  }
  test::TemporaryFolder folder;
  first.write(folder / "decoder_model.onnx");
  second.write(folder / "decoder_with_past_model.onnx");
  CHECK(count_of(import_model(folder.path().string()), "Neg") == 1);
  first.write(folder / "decoder_model_merged.onnx");
  CHECK(count_of(import_model(folder.path().string()), "Abs") == 1);
}
