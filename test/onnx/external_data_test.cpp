// Weights in files beside the model, and every way in which they must not be read.
#include <filesystem>

#include "converter/onnx/import.h"
#include "converter/shape/infer.h"
#include "runtime/base/error.h"
#include "test/onnx/model_builder.h"
#include "test/support/catch.h"

using namespace pocket;
using onnx_import::import_model;
using test::ModelBuilder;

namespace {

ModelBuilder with_weight(const std::string& location, const std::string& offset = "",
                         const std::string& length = "") {
  ModelBuilder m;
  m.input("x", {"2"});
  m.external("w", {2}, location, offset, length);
  m.node("Add", {"x", "w"}, {"y"});
  m.output("y");
  return m;
}

const std::string kData("\0\0\0\0\0\0\x80\x3f\0\0\0\x40", 12);  // 0, 1, 2

struct Place {
  test::TemporaryFolder outer;
  std::string model;
  explicit Place(const ModelBuilder& m) : model(outer / "model/model.onnx") {
    std::filesystem::create_directories(outer / "model/sub");
    m.write(model);
    for (const char* file : {"model/w.bin", "model/sub/w.bin", "secret.bin"}) {
      ModelBuilder::write_bytes(outer / file, kData);
    }
  }
  std::string refusal() const {
    try {
      import_model(model);
    } catch (const Error& error) {
      CHECK(error.code == ExitCode::bad_input);
      return error.what();
    }
    return "";
  }
};

}  // namespace

TEST_CASE("external data is read from its offset") {
  for (const char* location : {"w.bin", "sub/w.bin", "./w.bin"}) {
    const Place place(with_weight(location, "4", "8"));
    onnx_import::ImportReport report;
    const ir::Graph graph = import_model(place.model, &report);
    CHECK(graph.value(graph.find("w")).constant->as_floats() == std::vector<float>{1.0f, 2.0f});
    CHECK(report.external_bytes == 8);
    CHECK(report.external_files == std::vector<std::string>{location});
  }
}

TEST_CASE("a location outside the model's folder is refused") {
  CHECK_THAT(Place(with_weight("../secret.bin")).refusal(), Catch::Contains("outside"));
  CHECK_THAT(Place(with_weight("sub/../../secret.bin")).refusal(), Catch::Contains("outside"));
  CHECK_THAT(Place(with_weight("/etc/passwd")).refusal(), Catch::Contains("outside"));
  CHECK_THAT(Place(with_weight("")).refusal(), Catch::Contains("outside"));
  const Place link(with_weight("link.bin"));
  std::filesystem::create_symlink(link.outer / "secret.bin", link.outer / "model/link.bin");
  CHECK_THAT(link.refusal(), Catch::Contains("link"));
  const Place folder_link(with_weight("up/secret.bin"));
  std::filesystem::create_directory_symlink(folder_link.outer.path(),
                                            folder_link.outer / "model/up");
  CHECK_THAT(folder_link.refusal(), Catch::Contains("link"));
  const Place inside(with_weight("inner.bin", "0", "8"));  // a link that stays inside is fine
  std::filesystem::create_symlink(inside.outer / "model/w.bin", inside.outer / "model/inner.bin");
  CHECK(inside.refusal().empty());
}

TEST_CASE("ranges beyond the file are refused") {
  CHECK_THAT(Place(with_weight("w.bin", "8", "8")).refusal(), Catch::Contains("12"));
  CHECK_THAT(Place(with_weight("w.bin", "18446744073709551615")).refusal(),
             Catch::Contains("the file has 12"));
  CHECK_THAT(Place(with_weight("w.bin", "0", "12")).refusal(), Catch::Contains("needs 8"));
  CHECK_THAT(Place(with_weight("w.bin", "-4")).refusal(), Catch::Contains("\"-4\""));
  CHECK_THAT(Place(with_weight("w.bin", "4x")).refusal(), Catch::Contains("\"4x\""));
  CHECK_THAT(Place(with_weight("absent.bin")).refusal(), Catch::Contains("missing"));
  CHECK_THAT(Place(with_weight("sub")).refusal(), Catch::Contains("regular file"));
}

TEST_CASE("shapes can be inferred without the external data") {
  onnx_import::ImportOptions options;
  options.external_data_may_be_absent = true;
  const Place place(with_weight("absent.bin"));
  ir::Graph graph = import_model(place.model, nullptr, options);
  const shape::InferReport report = shape::infer_shapes(graph);
  CHECK(report.unresolved.empty());
  CHECK(ir::shape_text(*graph.value(graph.outputs[0]).shape) == "[2]");
  CHECK_THAT(graph.to_text(), Catch::Contains("absent"));
}
