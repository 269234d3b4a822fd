// The bytes of format major 1: as they were first written, still read; with the feature
// stacked_plan, as every file has it now, and with any_precision and w8a8, written again bit by bit
// and read.
#include <algorithm>
#include <cstdlib>

#include "runtime/package/package.h"
#include "runtime/package/w8a8.h"
#include "test/support/catch.h"
#include "test/support/command.h"
#include "test/support/tiny_model.h"

using namespace pocket;

namespace {

const std::string kFirst = POCKET_SOURCE_DIR "/test/golden/major1_m0e4.pocket";
const std::string kStacked = POCKET_SOURCE_DIR "/test/golden/major1_stacked_plan.pocket";
const std::string kW8a8 = POCKET_SOURCE_DIR "/test/golden/major1_w8a8.pocket";
const std::string kAny = POCKET_SOURCE_DIR "/test/golden/major1_any_precision.pocket";

// Values by arithmetic, not by a library's random distribution: the same on every machine.
test::TinyModel golden_model(Encoding encoding = Encoding::m0e4) {
  test::TinyOptions options;
  options.encoding = encoding;
  options.vocab = 37;
  options.hidden = options.intermediate = 40;
  options.layers = 1;
  options.heads = 2;
  options.kv_heads = 1;
  options.eos_ids = {3};
  test::TinyModel model = test::make_tiny_model(options);
  for (auto& values : model.values) {
    uint32_t state = static_cast<uint32_t>(values.size());
    for (float& value : values) {
      state = state * 1664525u + 1013904223u;
      value = static_cast<float>(static_cast<int32_t>(state >> 8) - (1 << 23)) * 0x1p-24f;
    }
  }
  model.manifest.program.rope_tables = {{{1.0, 0.125, 0.015625, 0.001953125}, 1.0}};
  model.manifest.tokenizer_json = "{\"version\": \"1.0\"}";
  model.manifest.provenance = {{"source", "golden"}};
  return model;
}

}  // namespace

TEST_CASE("golden bytes of major 1 are written again, bit by bit") {
  const test::TemporaryFolder folder;
  const std::string path = folder / "golden.pocket";
  for (const Encoding encoding : {Encoding::m0e4, Encoding::any, Encoding::w8a8}) {
    const std::string& kept = encoding == Encoding::any    ? kAny
                              : encoding == Encoding::w8a8 ? kW8a8
                                                           : kStacked;
    test::write_tiny_model(golden_model(encoding), path);
    // After a deliberate change of the format: POCKET_WRITE_GOLDEN=1 package_test
    if (std::getenv("POCKET_WRITE_GOLDEN")) test::write_file(kept, test::read_file(path));
    const std::string golden = test::read_file(kept);
    REQUIRE(!golden.empty());
    CHECK(golden.size() < 64 * 1024);
    CHECK(test::read_file(path) == golden);
  }
}

TEST_CASE("golden bytes of any precision are read at every width") {
  Package package = Package::open(kAny);
  for (size_t i = 0; i < package.manifest().shards.size(); ++i) package.verify_shard(i);
  const std::vector<std::string>& needed = package.manifest().required_features;
  CHECK(std::count(needed.begin(), needed.end(), "any_precision") == 1);
  const test::TinyModel model = golden_model(Encoding::any);
  double last = 1e30;
  for (const int32_t width : {2, 3, 4}) {
    package.choose_precision(width);
    double error = 0;
    int matrices = 0;
    for (size_t i = 0; i < package.manifest().weights.size(); ++i) {
      const Weight& weight = package.manifest().weights[i];
      if (weight.format.encoding != Encoding::any) continue;
      ++matrices;
      CHECK(weight.sections.size() == 7);  // four planes, three tables
      const auto codes = package.gather(weight, SectionRole::codes);
      const auto table = package.gather(weight, SectionRole::scale);
      CHECK(codes.size() == weight.format.code_bytes());
      CHECK(table.size() == weight.format.pair_bytes());
      std::vector<float> row(static_cast<size_t>(weight.format.columns));
      for (int64_t n = 0; n < weight.format.rows; ++n) {
        unpack_row(weight.format, codes.data(), table.data(), n, row.data());
        for (size_t k = 0; k < row.size(); ++k) {
          const double d = double(row[k]) - double(model.values[i][size_t(n) * row.size() + k]);
          error += d * d;
        }
      }
    }
    CHECK(matrices == 5);
    CHECK(error < 0.5 * last);
    last = error;
  }
}

TEST_CASE("golden bytes of w8a8 are read") {
  const Package package = Package::open(kW8a8);
  for (size_t i = 0; i < package.manifest().shards.size(); ++i) package.verify_shard(i);
  CHECK(package.manifest().required_features == std::vector<std::string>{"stacked_plan", "w8a8"});
  const test::TinyModel model = golden_model(Encoding::w8a8);
  int matrices = 0;
  for (size_t i = 0; i < package.manifest().weights.size(); ++i) {
    const Weight& weight = package.manifest().weights[i];
    if (weight.format.encoding != Encoding::w8a8) continue;
    ++matrices;
    CHECK(weight.act_scale == test::kTinyActScale);
    CHECK(weight.sections.size() == 2);
    const auto codes = package.gather(weight, SectionRole::codes);
    const auto scales = package.gather(weight, SectionRole::scale);
    std::vector<float> row(static_cast<size_t>(weight.format.columns));
    for (int64_t n = 0; n < weight.format.rows; ++n) {
      unpack_row(weight.format, codes.data(), scales.data(), n, row.data());
      const float step = w8a8_row(scales.data(), n).scale;
      for (size_t k = 0; k < row.size(); ++k) {
        const float wanted = model.values[i][static_cast<size_t>(n) * row.size() + k];
        CHECK(row[k] == Approx(wanted).margin(0.5001 * step));
      }
    }
  }
  CHECK(matrices == 5);
}

TEST_CASE("golden bytes of major 1 are read") {
  const std::string path = GENERATE(kFirst, kStacked);
  INFO(path);
  const Package package = Package::open(path);
  for (size_t i = 0; i < package.manifest().shards.size(); ++i) package.verify_shard(i);
  const Manifest& manifest = package.manifest();
  CHECK(manifest.program.vocab == 37);
  CHECK(manifest.program.operators.size() == 12);
  CHECK(manifest.generation.eos_ids == std::vector<int32_t>{3});
  CHECK(manifest.weights[0].name == "embedding");
  CHECK(manifest.weights[0].format.code_bytes() == 37 * 32);
  // The first weights of the embedding, from the golden file by hand: x = S*(1 + q/16) + B.
  const auto codes = package.gather(manifest.weights[0], SectionRole::codes);
  const auto pairs = package.gather(manifest.weights[0], SectionRole::scale);
  std::vector<float> row(40);
  unpack_row(manifest.weights[0].format, codes.data(), pairs.data(), 0, row.data());
  const test::TinyModel model = golden_model();
  for (size_t k = 0; k < row.size(); ++k) {
    CHECK(row[k] == Approx(model.values[0][k]).margin(0.06));  // half a step of range 1 / 15
  }
}
