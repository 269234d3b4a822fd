// The grids on weights that were trained: the bundled model, and the two story models where their
// exports are (scripts/story_models.sh).
#include <cstdlib>

#include "converter/quant/rtn.h"
#include "test/quant/model.h"
#include "test/support/catch.h"

using namespace pocket;

namespace {

// Over all matrices of the model, relative to their own squares.
double squared_error(const test::Model& model, Encoding encoding, int64_t group, bool clip) {
  QuantError sum;
  for (size_t i = 0; i < model.weights.size(); ++i) {
    WeightFormat format = model.weights[i].format;
    if (!format.four_bit()) continue;
    format.encoding = encoding;
    format.group = group;
    std::vector<float> values(static_cast<size_t>(format.rows * format.columns));
    model.weights[i].source->read_rows(0, format.rows, values.data());
    std::vector<uint8_t> codes(static_cast<size_t>(format.rows * format.padded_columns()));
    std::vector<uint32_t> pairs(static_cast<size_t>(format.rows * format.groups()));
    sum.add(rtn(format, model.weights[i].name, values.data(), codes.data(), pairs.data(), clip));
  }
  return sum.squared_error / sum.squared_norm;
}

void compare(const test::Model& model, const char* name, int64_t group, bool clip) {
  const double m0e4 = squared_error(model, Encoding::m0e4, group, clip);
  const double int4 = squared_error(model, Encoding::int4, group, clip);
  INFO(name << ", group " << group << ", clip search " << clip);
  CHECK(m0e4 < int4);
  CHECK(m0e4 < 0.02);
}

void compare_all(const test::Model& model, const char* name) {
  for (const int64_t group : {32, 64, 128}) {
    for (const bool clip : {false, true}) compare(model, name, group, clip);
  }
}

}  // namespace

TEST_CASE("m0e4 is nearer than int4 with integer zero points on the bundled model") {
  compare_all(test::load("folktale-2m"), "folktale-2m");
}

TEST_CASE("m0e4 is nearer than int4 with integer zero points on the story models") {
  const char* exports = std::getenv("POCKET_STORY_MODELS");
  if (exports == nullptr) SKIP("POCKET_STORY_MODELS is not set: run scripts/story_models.sh");
  for (const char* name : {"stories260K", "babyllama-tok105"}) {
    compare_all(test::load(name, Encoding::m0e4, 32, exports), name);
  }
}
