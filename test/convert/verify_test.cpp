// --verify must find what it is there for: damage planted between the model and the file.
#include "converter/verify.h"

#include <functional>

#include "converter/lower/lower.h"
#include "converter/onnx/import.h"
#include "converter/package/writer.h"
#include "converter/passes/passes.h"
#include "converter/quant/encode.h"
#include "converter/shape/infer.h"
#include "runtime/base/error.h"
#include "test/convert/llmconvert.h"
#include "test/support/catch.h"

using namespace pocket;

namespace {

struct Converted {
  ir::Graph imported, rewritten;
  Lowered lowered;
};

Converted load(const std::string& name) {
  Converted model;
  onnx_import::ImportReport report;
  model.imported = onnx_import::import_model(test::model_folder(name), &report);
  model.rewritten = model.imported;
  shape::infer_shapes(model.rewritten);
  PassOptions passes;
  passes.max_context = report.context;
  run_passes(model.rewritten, passes);
  LowerOptions options;
  options.max_context = report.context;
  model.lowered = lower(model.rewritten, options);
  return model;
}

// Writes the file after `damage` has changed the program; `source_of` says which weight's values
// are written at each place.
VerifyResult verify_with(const Converted& model, const std::function<void(Program&)>& damage,
                         const std::function<size_t(size_t)>& source_of = {}) {
  const test::TemporaryFolder folder;
  const std::string path = folder / "x.pocket";
  PackageWriter writer(path);
  for (size_t i = 0; i < model.lowered.weights.size(); ++i) {
    const LoweredWeight& weight = model.lowered.weights[i];
    const LoweredWeight& from = model.lowered.weights[source_of ? source_of(i) : i];
    WeightFormat format;
    format.rows = weight.source.rows();
    format.columns = weight.source.columns();
    if (weight.shape.size() == 2) {
      format.encoding = Encoding::m0e4;
      format.group = 32;
    }
    writer.begin_weight(weight.name, weight.shape, format);
    encode_weight(
        weight.name, format,
        [&](int64_t first, int64_t count, float* out) { from.source.read_rows(first, count, out); },
        [&](SectionRole role, std::span<const uint8_t> bytes) { writer.append(role, bytes); }, 1);
  }
  Manifest manifest;
  manifest.program = model.lowered.program;
  if (damage) damage(manifest.program);
  writer.finish(std::move(manifest));
  return verify_conversion(model.imported, model.rewritten, model.lowered.weights, path);
}

}  // namespace

TEST_CASE("verification accepts what is right and finds what is planted") {
  const Converted model = load("tiny-qwen2");
  const VerifyResult good = verify_with(model, {});
  INFO("passes " << good.passes_error << ", file " << good.file_error << ", quantisation "
                 << good.quantised_error);
  CHECK(good.passed());
  CHECK(good.tokens > 30);
  CHECK(good.quantised_error > good.file_error);  // 4 bits cost more than f16 states
  CHECK(good.quantised_error < 0.5);

  SECTION("another attention scale") {
    CHECK_FALSE(verify_with(model, [](Program& program) {
                  for (Operator& op : program.operators) {
                    if (op.kind == OpKind::attention) op.attributes.scale *= 1.2f;
                  }
                }).passed());
  }
  SECTION("other rotary angles") {
    CHECK_FALSE(verify_with(model, [](Program& program) {
                  program.rope_tables.at(0).inv_freq.at(1) *= 1.5;
                }).passed());
  }
  SECTION("a missing activation") {
    CHECK_FALSE(verify_with(model, [](Program& program) {
                  for (Operator& op : program.operators) {
                    op.attributes.activation = Activation::none;
                  }
                }).passed());
  }
  SECTION("two weights exchanged") {
    size_t a = 0, b = 0;
    const auto& weights = model.lowered.weights;
    for (size_t i = 0; i < weights.size(); ++i) {
      for (size_t k = 0; k < i; ++k) {
        if (weights[i].shape == weights[k].shape && weights[i].shape.size() == 2) a = i, b = k;
      }
    }
    REQUIRE(a != b);
    try {
      verify_with(model, {}, [&](size_t i) { return i == a ? b : i == b ? a : i; });
      FAIL("accepted");
    } catch (const Error& error) {
      CHECK(error.code == ExitCode::wrong_result);
    }
  }
}

TEST_CASE("verification finds a pass that changes the model") {
  Converted model = load("tiny-gpt2");
  CHECK(verify_with(model, {}).passed());
  // The model as it came, with one constant changed: the passes then did not preserve it.
  for (size_t i = 0; i < model.imported.value_count(); ++i) {
    ir::Value& value = model.imported.value(static_cast<ir::ValueId>(i));
    if (!value.constant || value.constant->type != ir::ElementType::f32 ||
        value.constant->elements() < 1000) {
      continue;
    }
    std::vector<float> values = value.constant->as_floats();
    for (float& number : values) number *= 1.05f;
    value.constant = ir::TensorData::from_floats(value.constant->shape, std::move(values));
  }
  const VerifyResult changed = verify_with(model, {});
  CHECK(changed.passes_error > changed.passes_tolerance);
  CHECK_FALSE(changed.passed());
}
