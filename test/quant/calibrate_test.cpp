// Calibration of whole models: folding changes nothing, results repeat, an interrupted run resumes.
#include "converter/quant/calibrate.h"

#include <cmath>
#include <filesystem>
#include <limits>
#include <set>

#include "runtime/base/error.h"
#include "test/quant/model.h"
#include "test/support/catch.h"
#include "test/support/command.h"

using namespace pocket;
using test::load;
using test::Model;
using test::some_windows;

namespace {

struct Sections {
  std::vector<uint8_t> codes, pairs;
  bool operator==(const Sections&) const = default;
};

// What a calibration chose, by weight; empty where it left a weight alone.
std::vector<Sections> run(Model& model, const CalibrationWindows& windows,
                          const CalibrationOptions& options, Calibrated* result = nullptr) {
  Calibrated made = calibrate(model.graph, model.layers.layer_of, model.layers.layers,
                              model.weights, windows, options, [](int, int) {});
  std::vector<Sections> sections(model.weights.size());
  for (size_t i = 0; i < sections.size(); ++i) {
    if (made.journal->holds(i)) {
      made.journal->read(i, &sections[i].codes, &sections[i].pairs);
    }
  }
  if (result != nullptr) *result = std::move(made);
  return sections;
}

CalibrationOptions options_in(const test::TemporaryFolder& folder, bool awq, bool gptq) {
  CalibrationOptions options;
  options.awq = awq;
  options.gptq = gptq;
  options.state_folder = folder / "state";
  return options;
}

const char* const kModels[] = {"tiny-gpt2", "tiny-qwen2", "tiny-falcon", "tiny-gemma2",
                               "tiny-phi", "folktale-2m"};

}  // namespace

TEST_CASE("scales that AWQ folds leave what the float model computes as it was") {
  size_t scaled = 0;
  for (const char* name : kModels) {
    INFO(name);
    const test::TemporaryFolder folder;
    Model model = load(name);
    const int64_t vocab = model.lowered.program.vocab;
    const CalibrationWindows windows = some_windows(vocab);
    std::vector<float> before = reference::logits(model.graph, windows.windows[0]).f;
    Calibrated made;
    run(model, windows, options_in(folder, true, false), &made);
    // The model with every weight as the quantisers read it now.
    LayerRun scaled_model(model.graph, model.layers.layer_of, {windows.windows[0]}, 1);
    const auto uses = find_uses(model.graph, model.weights);
    for (size_t i = 0; i < model.weights.size(); ++i) {
      const WeightFormat& format = model.weights[i].format;
      std::vector<float> values(static_cast<size_t>(format.rows * format.columns));
      model.weights[i].source->read_rows(0, format.rows, values.data());
      for (const WeightUse& use : uses[i]) scaled_model.replace(use, format.rows, values);
    }
    for (const WeightOutcome& outcome : made.outcomes) scaled += outcome.awq_ratio > 0.0;
    ir::ValueId logits = ir::kAbsent;
    for (const ir::ValueId output : model.graph.outputs) {
      bool state = false;
      for (const ir::StatePair& pair : model.graph.states) state |= pair.present == output;
      if (!state) logits = output;
    }
    scaled_model.evaluate({logits}, [&](size_t, LayerRun::Values values) {
      const std::vector<float>& after = values.at(logits).f;
      REQUIRE(after.size() == before.size());
      double distance = 0, norm = 0;
      for (size_t i = 0; i < after.size(); ++i) {
        distance += std::pow(double(after[i]) - double(before[i]), 2);
        norm += std::pow(double(before[i]), 2);
      }
      CHECK(std::sqrt(distance / norm) < 1e-5);
    });
  }
  CHECK(scaled > 20);
}

TEST_CASE("scales that pass into a matrix of f16 reach what the layers behind are measured on") {
  std::vector<WeightOutcome> outcomes[2];
  bool folded = false;
  for (const bool awq : {false, true}) {
    const test::TemporaryFolder folder;
    Model model = load("folktale-2m");
    for (QuantWeight& weight : model.weights) {
      const bool down = weight.name.find("down_proj") != std::string::npos;
      if (!weight.format.four_bit() || down) continue;
      weight.format.encoding = Encoding::f16;
      weight.format.group = 0;
    }
    Calibrated made;
    run(model, some_windows(model.lowered.program.vocab), options_in(folder, awq, false), &made);
    for (const WeightOutcome& outcome : made.outcomes) folded |= outcome.awq_ratio > 0.0;
    outcomes[awq] = std::move(made.outcomes);
  }
  REQUIRE(folded);
  REQUIRE(outcomes[0].size() == 5);
  REQUIRE(outcomes[1].size() == 5);
  for (size_t i = 0; i < outcomes[0].size(); ++i) {
    // Of the input before any scale of its own: rounding alone moves it a little.
    CHECK(std::fabs(outcomes[1][i].input_most / outcomes[0][i].input_most - 1.0f) < 0.1f);
  }
}

TEST_CASE("sites of the bundled model: four a layer and the tied head, all but that one foldable") {
  Model model = load("folktale-2m");
  const auto uses = find_uses(model.graph, model.weights);
  const std::vector<Site> sites =
      find_sites(model.graph, model.layers.layer_of, model.weights, uses);
  REQUIRE(sites.size() == 5 * 4 + 1);
  std::set<size_t> weights;
  for (const Site& site : sites) {
    weights.insert(site.weights.begin(), site.weights.end());
    CHECK(site.fold.has_value() == (site.layer < 5));
    if (!site.fold) continue;
    CHECK(site.fold->sources.size() == static_cast<size_t>(site.columns));
    // 6 query heads read 2 heads of values of width 32.
    if (site.fold->scales == 64) {
      CHECK(site.fold->sources[0] == 0);
      CHECK(site.fold->sources[64] == 0);
      CHECK(site.fold->sources[96] == 32);
      CHECK(site.fold->targets.size() == 1);
      CHECK(site.fold->targets[0].first == 192 + 64);
    }
  }
  size_t matrices = 0;
  for (const QuantWeight& weight : model.weights) matrices += weight.format.four_bit();
  CHECK(weights.size() == matrices);
}

TEST_CASE("every method and encoding: whole sections, errors on rows held out, threads change nothing") {
  for (const char* name : {"tiny-gpt2", "tiny-qwen2"}) {
    for (const Encoding encoding : {Encoding::m0e4, Encoding::int4}) {
      for (const bool awq : {false, true}) {
        for (const bool gptq : {false, true}) {
          INFO(name << ", awq " << awq << ", gptq " << gptq);
          const test::TemporaryFolder folder, other;
          Model model = load(name, encoding, 64), again = load(name, encoding, 64);
          const CalibrationWindows windows = some_windows(model.lowered.program.vocab);
          Calibrated made;
          const std::vector<Sections> sections =
              run(model, windows, options_in(folder, awq, gptq), &made);
          REQUIRE(made.outcomes.size() > 5);
          for (const WeightOutcome& outcome : made.outcomes) {
            const WeightFormat& format = model.weights[outcome.weight].format;
            CHECK(sections[outcome.weight].codes.size() == format.code_bytes());
            CHECK(sections[outcome.weight].pairs.size() == format.pair_bytes());
            REQUIRE(outcome.output_error.has_value());
            CHECK(*outcome.output_error > 0.0);
            CHECK(*outcome.output_error < 0.1);
            CHECK(outcome.input_most >= outcome.input_percentile_999);
            CHECK(outcome.input_percentile_999 > 0.0f);
            CHECK((outcome.damping > 0.0) == gptq);
          }
          CalibrationOptions single = options_in(other, awq, gptq);
          single.threads = 1;
          CHECK(run(again, windows, single) == sections);
        }
      }
    }
  }
}

TEST_CASE("codes from the model's file stay: no site, and no scale passes through them") {
  Model model = load("tiny-qwen2");
  const auto uses = find_uses(model.graph, model.weights);
  const auto folds_of = [&] {
    size_t folds = 0;
    for (const Site& site :
         find_sites(model.graph, model.layers.layer_of, model.weights, uses)) {
      folds += site.fold.has_value();
    }
    return folds;
  };
  const size_t before = folds_of();
  // The merged q, k and v of a layer: neither its own input nor that behind the attention folds.
  for (QuantWeight& weight : model.weights) {
    if (weight.format.four_bit() && weight.source->parts().size() == 3 && !weight.keeps_codes) {
      weight.keeps_codes = true;
      break;
    }
  }
  CHECK(folds_of() == before - 2);
  const test::TemporaryFolder folder;
  Calibrated made;
  run(model, some_windows(model.lowered.program.vocab), options_in(folder, true, true), &made);
  for (const WeightOutcome& outcome : made.outcomes) {
    CHECK_FALSE(model.weights[outcome.weight].keeps_codes);
  }
}

TEST_CASE("GPTQ loses less of the outputs than rounding to nearest, on rows it has not seen") {
  double sums[2] = {0, 0};
  for (const bool gptq : {false, true}) {
    const test::TemporaryFolder folder;
    Model model = load("folktale-2m");
    const std::string text = test::read_file(std::string(POCKET_SOURCE_DIR) +
                                             "/models/folktale-2m/heldout.txt");
    const CalibrationWindows windows = read_calibration(
        std::string(POCKET_SOURCE_DIR) + "/models/folktale-2m/heldout.txt",
        test::read_file(std::string(POCKET_SOURCE_DIR) + "/models/folktale-2m/tokenizer.json"), "",
        2048, 128, 2048);
    Calibrated made;
    run(model, windows, options_in(folder, false, gptq), &made);
    for (const WeightOutcome& outcome : made.outcomes) sums[gptq ? 1 : 0] += *outcome.output_error;
  }
  INFO("round to nearest " << sums[0] << ", GPTQ " << sums[1]);
  CHECK(sums[1] < 0.8 * sums[0]);
}

TEST_CASE("an interrupted calibration resumes behind its last whole layer with the same bytes") {
  const test::TemporaryFolder straight, broken;
  Model whole = load("tiny-qwen2"), first = load("tiny-qwen2"), second = load("tiny-qwen2");
  const CalibrationWindows windows = some_windows(whole.lowered.program.vocab);
  const CalibrationOptions options = options_in(broken, true, true);
  const std::vector<Sections> expected = run(whole, windows, options_in(straight, true, true));
  struct Interrupted {};
  const auto stop_after = [&](Model& model, int layers) {
    CHECK_THROWS_AS(calibrate(model.graph, model.layers.layer_of, model.layers.layers,
                              model.weights, windows, options,
                              [&](int done, int) {
                                if (done == layers) throw Interrupted{};
                              }),
                    Interrupted);
  };
  stop_after(first, 2);
  Calibrated made;
  SECTION("the same run goes on") {
    CHECK(run(second, windows, options, &made) == expected);
    CHECK(made.resumed_layers == 2);
    CHECK(made.outcomes.size() > 5);
    // The scales of the layers that were not computed again have reached the sources.
    for (size_t i = 0; i < whole.weights.size(); ++i) {
      const WeightFormat& format = whole.weights[i].format;
      std::vector<float> a(static_cast<size_t>(format.rows * format.columns)), b(a.size());
      whole.weights[i].source->read_rows(0, format.rows, a.data());
      second.weights[i].source->read_rows(0, format.rows, b.data());
      CHECK(a == b);
    }
    made.journal->remove();
    CHECK_FALSE(std::filesystem::exists(options.state_folder));
  }
  SECTION("another text or method starts anew") {
    CalibrationOptions other = options;
    other.gptq = false;
    run(second, windows, other, &made);
    CHECK(made.resumed_layers == 0);
  }
  SECTION("damaged files start anew") {
    for (const char* file : {"/layer-0", "/border-1"}) {
      const std::string path = options.state_folder + file;
      std::string bytes = test::read_file(path);
      REQUIRE(bytes.size() > 100);
      bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
      test::write_file(path, bytes);
      Model fresh = load("tiny-qwen2");
      CHECK(run(fresh, windows, options, &made) == expected);
      CHECK(made.resumed_layers == 0);
      Model third = load("tiny-qwen2");
      made.journal->remove();
      stop_after(third, 2);
    }
    std::filesystem::resize_file(options.state_folder + "/layer-1", 17);
    CHECK(run(second, windows, options, &made) == expected);
  }
}

TEST_CASE("a single token calibrates, a model that overflows is refused by the linear's name") {
  const test::TemporaryFolder folder;
  Model model = load("tiny-qwen2");
  Calibrated made;
  run(model, some_windows(model.lowered.program.vocab, 1, 1), options_in(folder, true, true),
      &made);
  REQUIRE(made.outcomes.size() > 5);
  for (const WeightOutcome& outcome : made.outcomes) CHECK_FALSE(outcome.output_error);

  const test::TemporaryFolder other;
  Model damaged = load("tiny-qwen2");
  for (size_t i = 0; i < damaged.graph.value_count(); ++i) {
    ir::Value& value = damaged.graph.value(static_cast<ir::ValueId>(i));
    if (!value.constant || value.constant->shape.size() != 1 ||
        value.constant->elements() != model.weights[0].format.columns) {
      continue;
    }
    std::vector<float> numbers = value.constant->as_floats();
    numbers[1] = std::numeric_limits<float>::quiet_NaN();
    value.constant = ir::TensorData::from_floats(value.constant->shape, numbers);
  }
  CHECK_THROWS_WITH(run(damaged, some_windows(64), options_in(other, true, true)),
                    Catch::Contains("no finite number"));
}
