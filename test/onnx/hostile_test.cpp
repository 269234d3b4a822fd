// Damaged files: every one is either refused with Error or imported; nothing crashes.
#include <random>

#include "converter/onnx/import.h"
#include "converter/shape/infer.h"
#include "runtime/base/error.h"
#include "test/onnx/model_builder.h"
#include "test/support/catch.h"

using namespace pocket;
using test::ModelBuilder;

namespace {

// A model of about 700 bytes with the shape arithmetic that exports consist of.
std::string small_model() {
  ModelBuilder m;
  m.input("input_ids", {"batch", "sequence"}, 7);
  m.input("past_key_values.0.key", {"batch", "2", "past", "4"});
  m.initializer("table", {4, 4}).set_raw_data(std::string(64, '\1'));
  m.initializer("zero", {1}, 7).add_int64_data(0);
  m.initializer("one", {1}, 7).add_int64_data(1);
  m.initializer("two", {2}, 7)
      .set_raw_data(std::string("\2\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", 16));
  m.node("Gather", {"table", "input_ids"}, {"x"});
  m.node("Shape", {"x"}, {"shape"});
  m.node("Slice", {"shape", "zero", "one", "zero"}, {"head"});
  m.node("Concat", {"head", "two"}, {"target"}).add_attribute()->set_name("axis");
  auto* axis = m.proto().mutable_graph()->mutable_node(3)->mutable_attribute(0);
  axis->set_type(onnx::AttributeProto::INT);
  m.node("Reshape", {"x", "target"}, {"r"});
  m.node("ConstantOfShape", {"two"}, {"c"});
  m.node("Tile", {"one", "one"}, {"t"});
  m.node("Softmax", {"r"}, {"logits"});
  m.node("Neg", {"past_key_values.0.key"}, {"present.0.key"});
  m.output("logits");
  m.output("present.0.key");
  return m.bytes();
}

enum class Outcome { imported, refused };

Outcome try_import(const std::string& path, const std::string& bytes) {
  ModelBuilder::write_bytes(path, bytes);
  try {
    ir::Graph graph = onnx_import::import_model(path);
    shape::infer_shapes(graph);
    (void)graph.to_text();
    return Outcome::imported;
  } catch (const Error& error) {
    CHECK(std::string(error.what()).size() > 20);
    return Outcome::refused;
  }
}

}  // namespace

TEST_CASE("a truncated model is refused at every length") {
  const std::string whole = small_model();
  test::TemporaryFolder folder;
  const std::string path = folder / "model.onnx";
  // Every other damage is caught by our own checks, the parser, or leaves a smaller valid model.
  int refused = 0;
  for (size_t size = 0; size < whole.size(); ++size) {
    refused += try_import(path, whole.substr(0, size)) == Outcome::refused;
  }
  CHECK(refused == static_cast<int>(whole.size()));
}

TEST_CASE("flipped bits never crash the importer") {
  const std::string whole = small_model();
  test::TemporaryFolder folder;
  const std::string path = folder / "model.onnx";
  int refused = 0;
  for (size_t at = 0; at < whole.size(); ++at) {
    for (const int bit : {0, 3, 7}) {
      std::string damaged = whole;
      damaged[at] = static_cast<char>(static_cast<unsigned char>(damaged[at]) ^ (1u << bit));
      refused += try_import(path, damaged) == Outcome::refused;
    }
  }
  CHECK(refused > 100);
}

TEST_CASE("random damage to a real export never crashes the importer") {
  const std::string whole = test::read_file(POCKET_SOURCE_DIR "/models/tiny-qwen2/model.onnx");
  REQUIRE(whole.size() > 100000);
  test::TemporaryFolder folder;
  const std::string path = folder / "model.onnx";
  std::mt19937 random(3);
  for (int round = 0; round < 30; ++round) {
    CHECK(try_import(path, whole.substr(0, random() % whole.size())) == Outcome::refused);
  }
  int refused = 0;
  for (int round = 0; round < 60; ++round) {
    std::string damaged = whole;
    for (int k = 0; k < 8; ++k) damaged[random() % damaged.size()] = static_cast<char>(random());
    refused += try_import(path, damaged) == Outcome::refused;
  }
  CHECK(refused > 10);
}

TEST_CASE("garbage is no ONNX file") {
  test::TemporaryFolder folder;
  const std::string path = folder / "model.onnx";
  CHECK(try_import(path, "") == Outcome::refused);
  CHECK(try_import(path, "<html>404 not found</html>") == Outcome::refused);
  CHECK(try_import(path, std::string(100000, '\0')) == Outcome::refused);
  CHECK(try_import(path, "version https://git-lfs.github.com/spec/v1\noid sha256:0\n") ==
        Outcome::refused);
}
