// Export forms: real graphs of other people, branches, packed states, pairs without names, and
// refusals of graphs that are no decoders.
#include <filesystem>
#include <nlohmann/json.hpp>

#include "converter/onnx/decoder_check.h"
#include "converter/onnx/expand.h"
#include "converter/onnx/import.h"
#include "converter/reference/executor.h"
#include "converter/shape/infer.h"
#include "runtime/base/error.h"
#include "test/onnx/model_builder.h"
#include "test/support/catch.h"

using namespace pocket;
using onnx_import::import_model;
using reference::HostTensor;
using test::ModelBuilder;

namespace {

const std::string kExports = POCKET_SHARED_DATA "/onnx/exports/";

bool present() { return std::filesystem::exists(kExports); }

std::string text_of(const ir::Graph& graph, const std::string& name) {
  return ir::shape_text(*graph.value(graph.find(name)).shape);
}

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

void append_bool(ModelBuilder& m, const std::string& name, bool value) {
  m.initializer(name, {}, 9).add_int32_data(value ? 1 : 0);
}

onnx::GraphProto branch(const std::vector<std::pair<std::string, std::vector<std::string>>>& nodes,
                        const std::string& output) {
  onnx::GraphProto graph;
  for (size_t k = 0; k < nodes.size(); ++k) {
    onnx::NodeProto* node = graph.add_node();
    node->set_op_type(nodes[k].first);
    for (const std::string& input : nodes[k].second) node->add_input(input);
    node->add_output(k + 1 == nodes.size() ? output : "inner" + std::to_string(k));
  }
  graph.add_output()->set_name(output);
  return graph;
}

void set_branches(onnx::NodeProto& node, const onnx::GraphProto& yes, const onnx::GraphProto& no) {
  for (const bool value : {true, false}) {
    onnx::AttributeProto* attribute = node.add_attribute();
    attribute->set_name(value ? "then_branch" : "else_branch");
    attribute->set_type(onnx::AttributeProto::GRAPH);
    *attribute->mutable_g() = value ? yes : no;
  }
}

ir::Graph imported(const ModelBuilder& m, onnx_import::ImportReport* report = nullptr) {
  test::TemporaryFolder folder;
  m.write(folder / "model.onnx");
  return import_model(folder.path().string(), report);
}

int count_of(const ir::Graph& graph, const std::string& op) {
  int count = 0;
  for (const ir::NodeId id : graph.order()) count += graph.node(id).op == op ? 1 : 0;
  return count;
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

TEST_CASE("a merged decoder keeps the branch that reads the past") {
  for (const bool with_past_is_then : {true, false}) {
    ModelBuilder m;
    m.input("input_ids", {"b", "s"}, 7);
    m.input("past_key_values.0.key", {"b", "2", "p", "4"});
    m.input("use_cache_branch", {"1"}, 9);
    onnx::TensorProto& table = m.initializer("table", {8, 8});
    for (int k = 0; k < 64; ++k) table.add_float_data(static_cast<float>(k % 7));
    m.node("Gather", {"table", "input_ids"}, {"rows"});
    // The branch without a past makes up an empty one; both capture "rows".
    onnx::GraphProto no_past =
        branch({{"Reshape", {"rows", "heads"}}, {"Transpose", {"inner0"}}}, "out");
    onnx::GraphProto with_past = branch({{"Reshape", {"rows", "heads"}},
                                         {"Transpose", {"inner0"}},
                                         {"Concat", {"past_key_values.0.key", "inner1"}}},
                                        "out");
    for (onnx::GraphProto* graph : {&no_past, &with_past}) {
      onnx::TensorProto* heads = graph->add_initializer();
      heads->set_name("heads");
      heads->set_data_type(7);
      heads->add_dims(4);
      for (const int64_t dim : {0, 0, 2, 4}) heads->add_int64_data(dim);
      onnx::AttributeProto* order = graph->mutable_node(1)->add_attribute();
      order->set_name("perm");
      order->set_type(onnx::AttributeProto::INTS);
      for (const int64_t axis : {0, 2, 1, 3}) order->add_ints(axis);
    }
    onnx::AttributeProto* axis = with_past.mutable_node(2)->add_attribute();
    axis->set_name("axis");
    axis->set_type(onnx::AttributeProto::INT);
    axis->set_i(2);
    onnx::NodeProto& choice = m.node("If", {"use_cache_branch"}, {"present.0.key"});
    if (with_past_is_then)
      set_branches(choice, with_past, no_past);
    else
      set_branches(choice, no_past, with_past);
    m.node("Identity", {"rows"}, {"logits"});
    m.output("logits");
    m.output("present.0.key");
    onnx_import::ImportReport report;
    ir::Graph graph = imported(m, &report);
    CHECK(graph.inputs.size() == 2);
    REQUIRE(graph.states.size() == 1);
    REQUIRE_FALSE(report.notes.empty());
    CHECK_THAT(report.notes[0], Catch::Contains(with_past_is_then ? "true" : "false"));
    CHECK(shape::infer_shapes(graph).unresolved.empty());
    CHECK(ir::shape_text(*graph.value(graph.states[0].present).shape) ==
          "[1, 2, past + tokens, 4]");
    CHECK(count_of(graph, "Concat") == 1);
  }
}

TEST_CASE("branches on shapes fold, branches on contents become a choice") {
  const auto model = [](const std::string& condition) {
    ModelBuilder m;
    m.input("input_ids", {"b", "s"}, 7);
    m.initializer("one", {}, 7).add_int64_data(1);
    m.initializer("zero", {}, 7).add_int64_data(0);
    m.initializer("batch_axis", {1}, 7).add_int64_data(0);
    append_bool(m, "yes", true);
    m.node("Shape", {"input_ids"}, {"shape"});
    m.node("Gather", {"shape", "zero"}, {"batch"});
    m.node("Equal", {"batch", "one"}, {"single"});  // always true: the batch is 1
    m.node("ReduceMax", {"input_ids"}, {"most"});
    m.node("Reshape", {"most", "scalar"}, {"largest"});
    m.initializer("scalar", {0}, 7);
    m.node("Greater", {"largest", "zero"}, {"some"});  // depends on the ids
    // The untaken branch could never be shaped: the ids have two dimensions.
    set_branches(m.node("If", {condition}, {"y"}),
                 branch({{"Abs", {"input_ids"}}, {"Neg", {"inner0"}}}, "out"),
                 condition == "single" ? branch({{"Transpose", {"missing_rank"}}}, "out")
                                       : branch({{"Abs", {"input_ids"}}}, "out"));
    m.output("y");
    return m;
  };
  {
    ir::Graph graph = imported(model("single"));
    CHECK(count_of(graph, "Where") == 0);
    CHECK(count_of(graph, "Transpose") == 0);
    CHECK(count_of(graph, "Neg") == 1);
  }
  CHECK(count_of(imported(model("yes")), "Where") == 0);
  ir::Graph graph = imported(model("some"));
  REQUIRE(count_of(graph, "Where") == 1);
  for (const int64_t sign : {int64_t{1}, int64_t{-1}}) {
    const HostTensor ids = HostTensor::integers({1, 2}, {sign * 3, sign * 5});
    const auto out = reference::run(graph, {{graph.inputs[0], ids}});
    CHECK(out.at(graph.outputs[0]).i ==
          (sign > 0 ? std::vector<int64_t>{-3, -5} : std::vector<int64_t>{3, 5}));
  }
}

TEST_CASE("branches inside branches and calls inside branches are written out") {
  ModelBuilder m;
  m.input("input_ids", {"b", "s"}, 7);
  append_bool(m, "yes", true);
  append_bool(m, "no", false);
  onnx::GraphProto inner = branch({{"Twice", {"input_ids"}}}, "deep");
  inner.mutable_node(0)->set_domain("local");
  onnx::GraphProto outer = branch({{"Neg", {"input_ids"}}}, "unused");
  onnx::NodeProto* nested = outer.add_node();
  nested->set_op_type("If");
  nested->add_input("no");
  nested->add_output("out");
  set_branches(*nested, branch({{"Abs", {"unused"}}}, "never"), inner);
  outer.mutable_output(0)->set_name("out");
  set_branches(m.node("If", {"yes"}, {"y"}), outer, branch({{"Abs", {"input_ids"}}}, "z"));
  m.output("y");
  onnx::FunctionProto* twice = m.proto().add_functions();
  twice->set_name("Twice");
  twice->set_domain("local");
  twice->add_input("a");
  twice->add_output("b");
  onnx::NodeProto* sum = twice->add_node();
  sum->set_op_type("Add");
  sum->add_input("a");
  sum->add_input("a");
  sum->add_output("b");
  const ir::Graph graph = imported(m);
  CHECK(count_of(graph, "If") == 0);
  CHECK(reference::run(graph, {{graph.inputs[0], HostTensor::integers({1, 2}, {4, -6})}})
            .at(graph.outputs[0])
            .i == std::vector<int64_t>{8, -12});
}

TEST_CASE("damaged branches are refused") {
  const auto refusal = [](auto change) -> std::string {
    ModelBuilder m;
    m.input("input_ids", {"b", "s"}, 7);
    append_bool(m, "yes", true);
    m.output("y");
    change(m);
    try {
      imported(m);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  CHECK_THAT(refusal([](ModelBuilder& m) { m.node("If", {"yes"}, {"y"}); }),
             Catch::Contains("then_branch"));
  CHECK_THAT(refusal([](ModelBuilder& m) {
               set_branches(m.node("If", {"yes"}, {"y", "second"}),
                            branch({{"Abs", {"input_ids"}}}, "z"),
                            branch({{"Abs", {"input_ids"}}}, "z"));
             }),
             Catch::Contains("too few outputs"));
  CHECK_THAT(refusal([](ModelBuilder& m) {
               onnx::GraphProto graph = branch({{"Abs", {"input_ids"}}}, "z");
               for (int depth = 0; depth < 20; ++depth) {
                 onnx::GraphProto around;
                 onnx::NodeProto* node = around.add_node();
                 node->set_op_type("If");
                 node->add_input("yes");
                 node->add_output("z");
                 set_branches(*node, graph, onnx::GraphProto());
                 around.add_output()->set_name("z");
                 graph = around;
               }
               set_branches(m.node("If", {"yes"}, {"y"}), graph, graph);
             }),
             Catch::Contains("16 deep"));
  CHECK_THAT(refusal([](ModelBuilder& m) {
               m.input("flag", {}, 9);
               set_branches(m.node("If", {"flag"}, {"y"}), branch({{"Abs", {"input_ids"}}}, "z"),
                            branch({{"Neg", {"input_ids"}}}, "z"));
             }),
             Catch::Contains("read the past equally"));
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
