// `If` in exports: decoders with and without a past in one file, branches on shapes, branches on
// contents, tables of two lengths, branches in branches, and damaged ones.
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

}  // namespace

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

// onnxruntime-genai's builder writes models with a short and a long context so.
TEST_CASE("tables of two lengths that a condition chooses become a choice of their rows") {
  constexpr int64_t kShort = 4, kLong = 12;
  const auto table = [](float step, int64_t rows) {
    onnx::GraphProto graph;
    for (const char* name : {"cosines", "sines"}) {
      onnx::NodeProto* node = graph.add_node();
      node->set_op_type("Constant");
      node->add_output(name);
      onnx::AttributeProto* value = node->add_attribute();
      value->set_name("value");
      value->set_type(onnx::AttributeProto::TENSOR);
      value->mutable_t()->set_data_type(1);
      value->mutable_t()->add_dims(rows);
      value->mutable_t()->add_dims(2);
      for (int64_t i = 0; i < 2 * rows; ++i) {
        value->mutable_t()->add_float_data(step * static_cast<float>(i + (name[0] == 's')));
      }
      graph.add_output()->set_name(name);
    }
    return graph;
  };
  ModelBuilder m;
  m.input("input_ids", {"b", "s"}, 7);
  m.input("attention_mask", {"b", "past_sequence_length + s"}, 7);
  m.input("position_ids", {"b", "s"}, 7);
  m.initializer("one", {}, 7).add_int64_data(1);
  m.initializer("short", {}, 7).add_int64_data(kShort);
  m.node("Shape", {"attention_mask"}, {"shape"});
  m.node("Gather", {"shape", "one"}, {"total"});
  m.node("Greater", {"total", "short"}, {"is_long"});
  onnx::NodeProto& node = m.node("If", {"is_long"}, {"cos_cache", "sin_cache"});
  set_branches(node, table(0.25f, kLong), table(-0.5f, kShort));
  onnx::TensorProto& embedding = m.initializer("embedding", {6, 4});
  for (int i = 0; i < 24; ++i) embedding.add_float_data(0.1f * static_cast<float>(i % 7) - 0.3f);
  m.node("Gather", {"embedding", "input_ids"}, {"x"});
  {
    ModelBuilder other = m;
    other.node("Neg", {"cos_cache"}, {"y"});
    other.output("y");
    std::string sentence;
    try {
      imported(other);
    } catch (const Error& error) {
      CHECK(error.code == ExitCode::bad_input);
      sentence = error.what();
    }
    CHECK(sentence ==
          "the model chooses between the tables [12, 2] and [4, 2] (\"cos_cache\") and reads more "
          "than rows of them, which is unsupported; export it for one length of context.");
  }
  m.node("RotaryEmbedding", {"x", "position_ids", "cos_cache", "sin_cache"}, {"y"},
         "com.microsoft");
  m.output("y");
  test::TemporaryFolder folder;
  m.write(folder / "model.onnx");
  onnx_import::ImportOptions as_it_is;
  as_it_is.expand_operators = false;
  ir::Graph chosen = import_model(folder.path().string(), nullptr, as_it_is);
  CHECK(count_of(chosen, "If") == 0);
  CHECK(count_of(chosen, "Choose") == 2);
  CHECK(shape::infer_shapes(chosen).unresolved.empty());
  CHECK(text_of(chosen, "cos_cache") == "[12, 2]");
  const ir::Graph plain = imported(m);
  CHECK(count_of(plain, "Choose") == 0);
  CHECK(count_of(plain, "RotaryEmbedding") == 0);
  // Up to the short length, and behind it at positions that the short tables do not have.
  for (const int64_t tokens : {1, 4, 5, 9}) {
    CAPTURE(tokens);
    std::vector<int64_t> ids, positions;
    for (int64_t t = 0; t < tokens; ++t) {
      ids.push_back(t * 5 % 6);
      positions.push_back(t);
    }
    const auto run = [&](const ir::Graph& graph) {
      reference::Feeds feeds;
      feeds[graph.find("input_ids")] = HostTensor::integers({1, tokens}, ids);
      feeds[graph.find("position_ids")] = HostTensor::integers({1, tokens}, positions);
      feeds[graph.find("attention_mask")] =
          HostTensor::integers({1, tokens}, std::vector<int64_t>(ids.size(), 1));
      return reference::run(graph, feeds).at(graph.outputs[0]);
    };
    const HostTensor y = run(plain), fused = run(chosen);
    REQUIRE(y.f.size() == fused.f.size());
    for (size_t i = 0; i < y.f.size(); ++i) CHECK(y.f[i] == Approx(fused.f[i]).margin(1e-6));
    // The first element of the last token, turned by the tables of the length at hand.
    const float step = tokens > kShort ? 0.25f : -0.5f;
    const auto row = static_cast<float>(2 * (tokens - 1));
    const auto x = [&](int64_t i) {
      return 0.1f * static_cast<float>((ids.back() * 4 + i) % 7) - 0.3f;
    };
    const float expected = x(0) * step * row - x(2) * step * (row + 1);
    CHECK(y.f[y.f.size() - 4] == Approx(expected).margin(1e-6));
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
