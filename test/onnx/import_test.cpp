// What a ModelProto becomes: constants of every kind, functions, and refusals in one sentence.
#include "converter/onnx/import.h"

#include "converter/reference/executor.h"
#include "runtime/base/error.h"
#include "test/onnx/model_builder.h"
#include "test/support/catch.h"

using namespace pocket;
using onnx_import::import_model;
using reference::HostTensor;
using test::ModelBuilder;

namespace {

struct Imported {
  test::TemporaryFolder folder;
  onnx_import::ImportReport report;
  ir::Graph graph;
  explicit Imported(const ModelBuilder& model) {
    model.write(folder / "model.onnx");
    graph = import_model(folder.path().string(), &report);
  }
};

std::string refusal(const ModelBuilder& model) {
  try {
    Imported imported(model);
  } catch (const Error& error) {
    CHECK(error.code == ExitCode::bad_input);
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("inline constants of every storage are read") {
  ModelBuilder m;
  m.input("x", {"2"});
  m.initializer("raw", {2}).set_raw_data(std::string("\0\0\x80\x3f\0\0\0\x40", 8));
  auto& floats = m.initializer("floats", {2});
  floats.add_float_data(3.0f);
  floats.add_float_data(4.0f);
  auto& halves = m.initializer("halves", {2}, 10);  // bits in int32_data
  halves.add_int32_data(0x3C00);
  halves.add_int32_data(0xC100);
  auto& doubles = m.initializer("doubles", {1}, 11);
  doubles.add_double_data(0.5);
  auto& wide = m.initializer("wide", {2}, 7);
  wide.add_int64_data(-1);
  wide.add_int64_data(int64_t{1} << 40);
  auto& flags = m.initializer("flags", {2}, 9);
  flags.add_int32_data(1);
  flags.add_int32_data(0);
  auto& tiny = m.initializer("tiny", {2}, 3);
  tiny.add_int32_data(-3);
  tiny.add_int32_data(5);
  m.node("Add", {"x", "raw"}, {"y"});
  m.output("y");
  const Imported i(m);
  const auto floats_of = [&](const char* name) {
    return i.graph.value(i.graph.find(name)).constant->as_floats();
  };
  const auto integers_of = [&](const char* name) {
    return i.graph.value(i.graph.find(name)).constant->as_integers();
  };
  CHECK(floats_of("raw") == std::vector<float>{1.0f, 2.0f});
  CHECK(floats_of("floats") == std::vector<float>{3.0f, 4.0f});
  CHECK(floats_of("halves") == std::vector<float>{1.0f, -2.5f});
  CHECK(floats_of("doubles") == std::vector<float>{0.5f});
  CHECK(integers_of("wide") == std::vector<int64_t>{-1, int64_t{1} << 40});
  CHECK(integers_of("flags") == std::vector<int64_t>{1, 0});
  CHECK(integers_of("tiny") == std::vector<int64_t>{-3, 5});
  CHECK(i.report.nodes == 1);
  CHECK(i.report.constants == 7);
  CHECK(i.report.producer == "test ");
}

TEST_CASE("model-local functions are written out with their attributes") {
  ModelBuilder m;
  m.input("x", {"2"});
  m.node("Twice", {"x"}, {"a"}, "local");
  auto* value = m.node("Twice", {"a"}, {"y"}, "local").add_attribute();
  value->set_name("power");
  value->set_type(onnx::AttributeProto::INT);
  value->set_i(10);  // CastLike target: half
  m.output("y");
  onnx::FunctionProto* function = m.proto().add_functions();
  function->set_name("Twice");
  function->set_domain("local");
  function->add_input("in");
  function->add_output("out");
  function->add_attribute("power");
  auto* add = function->add_node();
  add->set_op_type("Add");
  add->add_input("in");
  add->add_input("in");
  add->add_output("sum");
  auto* cast = function->add_node();
  cast->set_op_type("Softmax");
  cast->add_input("sum");
  cast->add_output("soft");
  auto* last = function->add_node();
  last->set_op_type("Identity");
  last->add_input("sum");
  last->add_output("out");
  auto* reference = cast->add_attribute();
  reference->set_name("axis");
  reference->set_type(onnx::AttributeProto::INT);
  reference->set_ref_attr_name("power");
  const Imported i(m);
  CHECK(i.report.nodes == 6);
  const auto out = reference::evaluate(
      i.graph, {{i.graph.inputs[0], HostTensor::floats({2}, {1, 2})}}, {i.graph.outputs[0]});
  CHECK(out.at(i.graph.outputs[0]).f == std::vector<float>{4, 8});
  int with_axis = 0;
  for (const ir::NodeId id : i.graph.order()) {
    if (i.graph.node(id).op == "Softmax") with_axis += i.graph.node(id).integer("axis", -1) == 10;
  }
  CHECK(with_axis == 1);  // bound at one call, dropped at the other

  onnx::NodeProto* self = m.proto().mutable_functions(0)->add_node();
  self->set_op_type("Twice");
  self->set_domain("local");
  self->add_input("in");
  self->add_output("never");
  CHECK_THAT(refusal(m), Catch::Contains("nested"));
}

TEST_CASE("all unsupported operators are listed at once with their nodes") {
  ModelBuilder m;
  m.input("x", {"2"});
  for (int k = 0; k < 5; ++k) m.node("Mystery", {"x"}, {"m" + std::to_string(k)}, "com.example");
  m.node("Loop", {"x"}, {"l"});
  m.node("DecoderMaskedSelfAttention", {"x"}, {"q"}, "com.microsoft");
  m.node("Neg", {"x"}, {"y"});
  m.output("y");
  const std::string text = refusal(m);
  CHECK_THAT(text, Catch::Contains("3 unsupported operators"));
  CHECK_THAT(text,
             Catch::Contains("com.example.Mystery x5 (Mystery_1, Mystery_2, Mystery_3, ...)"));
  CHECK_THAT(text, Catch::Contains("Loop x1 (Loop_6)"));
  CHECK_THAT(text, Catch::Contains("com.microsoft.DecoderMaskedSelfAttention x1"));
}

TEST_CASE("models that cannot be right are refused with the reason") {
  const auto with = [](auto change) {
    ModelBuilder m;
    m.input("x", {"2"});
    m.node("Neg", {"x"}, {"y"});
    m.output("y");
    change(m);
    return refusal(m);
  };
  CHECK_THAT(with([](ModelBuilder& m) { m.node("Abs", {"nothing"}, {"z"}); }),
             Catch::Contains("\"nothing\""));
  CHECK_THAT(with([](ModelBuilder& m) { m.node("Abs", {"x"}, {"y"}); }), Catch::Contains("twice"));
  CHECK_THAT(with([](ModelBuilder& m) { m.output("z"); }), Catch::Contains("\"z\""));
  CHECK_THAT(with([](ModelBuilder& m) { m.initializer("w", {3}).set_raw_data("abcd"); }),
             Catch::Contains("4 bytes") && Catch::Contains("12"));
  CHECK_THAT(with([](ModelBuilder& m) { m.initializer("w", {3}, 8); }),
             Catch::Contains("element type 8"));
  CHECK_THAT(with([](ModelBuilder& m) { m.initializer("w", {-3}); }), Catch::Contains("-3"));
  CHECK_THAT(with([](ModelBuilder& m) {
               m.initializer("w", {int64_t{1} << 40, int64_t{1} << 40});
             }),
             Catch::Contains("dimension"));
  CHECK_THAT(with([](ModelBuilder& m) { m.node("Add", {"x"}, {"z"}); }),
             Catch::Contains("1 inputs"));
  CHECK_THAT(with([](ModelBuilder& m) { m.proto().mutable_opset_import(0)->set_version(8); }),
             Catch::Contains("operator set is 8"));
  CHECK_THAT(with([](ModelBuilder& m) { m.proto().clear_graph(); }),
             Catch::Contains("no ONNX graph"));
  CHECK_THAT(with([](ModelBuilder& m) { m.input("s", {"2"}, 8); }), Catch::Contains("\"s\""));
  CHECK(with([](ModelBuilder&) {}).empty());
}

TEST_CASE("the model file is found, or what lies there is listed") {
  ModelBuilder m;
  m.input("x", {"2"});
  m.node("Neg", {"x"}, {"y"});
  m.output("y");
  test::TemporaryFolder folder;
  CHECK_THROWS_WITH(import_model(folder / "absent"), Catch::Contains("does not exist"));
  CHECK_THROWS_WITH(import_model(folder.path().string()), Catch::Contains("nothing"));
  ModelBuilder::write_bytes(folder / "readme.txt", "x");
  CHECK_THROWS_WITH(import_model(folder.path().string()), Catch::Contains("readme.txt"));
  m.write(folder / "decoder.onnx");
  CHECK(import_model(folder.path().string()).outputs.size() == 1);  // the only one
  m.write(folder / "other.onnx");
  CHECK_THROWS_WITH(import_model(folder.path().string()),
                    Catch::Contains("decoder.onnx, other.onnx"));
  CHECK(import_model(folder / "other.onnx").outputs.size() == 1);
  std::filesystem::create_directory(folder / "onnx");
  m.write(folder / "onnx/model.onnx");
  ModelBuilder::write_bytes(folder / "config.json", R"({"n_positions": 77})");
  onnx_import::ImportReport report;
  import_model(folder.path().string(), &report);
  CHECK(report.context == 77);  // the configuration lies beside the folder onnx/
}
