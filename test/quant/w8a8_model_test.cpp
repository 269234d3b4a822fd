// W8A8 of whole models: the integer path against plain integers, calibration that resumes, outliers.
#include <bit>
#include <filesystem>

#include "converter/quant/calibrate.h"
#include "runtime/base/error.h"
#include "runtime/package/w8a8.h"
#include "test/quant/model.h"
#include "test/quant/slow_w8a8.h"
#include "test/support/catch.h"
#include "test/support/command.h"

using namespace pocket;
using test::load;
using test::Model;
using test::some_windows;

namespace {

Calibrated run(Model& model, const CalibrationOptions& options, size_t windows = 5,
               const std::function<void(int, int)>& after_layer = [](int, int) {}) {
  return calibrate(model.graph, model.layers.layer_of, model.layers.layers, model.weights,
                   some_windows(model.lowered.program.vocab, windows), options, after_layer);
}

CalibrationOptions options_in(const test::TemporaryFolder& folder, float threshold = 64.0f,
                              bool per_channel = false) {
  CalibrationOptions options;
  options.awq = options.gptq = false;
  options.w8a8 = {threshold, per_channel};
  options.state_folder = folder / "state";
  return options;
}

// A linear as the file has it, in plain numbers.
struct Linear {
  std::vector<std::vector<int>> codes;  // by row
  std::vector<float> scales;
  float act_scale = 0.0f;
};

Linear read(const Model& model, Calibrated& made, const WeightOutcome& outcome) {
  const WeightFormat& format = model.weights[outcome.weight].format;
  std::vector<uint8_t> codes, scales;
  made.journal->read(outcome.weight, &codes, &scales);
  Linear linear;
  linear.act_scale = outcome.activation->step;
  for (int64_t row = 0; row < format.rows; ++row) {
    linear.scales.push_back(w8a8_row(scales.data(), row).scale);
    linear.codes.emplace_back();
    for (int64_t k = 0; k < format.columns; ++k) {
      linear.codes.back().push_back(w8a8_code(format, codes.data(), row, k));
    }
  }
  return linear;
}

bool same_bits(float a, float b) { return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b); }

}  // namespace

TEST_CASE("w8a8 of the bundled model: every linear of the reference equals plain integers") {
  const test::TemporaryFolder folder;
  Model model = load("folktale-2m", Encoding::w8a8);
  Calibrated made = run(model, options_in(folder, 1.0f));
  const auto uses = find_uses(model.graph, model.weights);
  ir::Graph graph = model.graph;
  std::map<ir::NodeId, std::vector<Linear>> linears;  // gate, then up
  for (const WeightOutcome& outcome : made.outcomes) {
    REQUIRE(uses[outcome.weight].size() == 1);
    const WeightUse& use = uses[outcome.weight][0];
    const Linear linear = read(model, made, outcome);
    CodedWeight coded;
    for (const std::vector<int>& row : linear.codes) {
      for (const int code : row) coded.codes.push_back(float(code));
    }
    coded.scales = linear.scales;
    coded.act_scale = linear.act_scale;
    put_codes(graph, use, std::move(coded));
    auto& known = linears[use.node];
    known.insert(use.input == 3 ? known.begin() : known.end(), linear);
  }
  REQUIRE(linears.size() == 5 * 4);
  // The whole model computes with these codes; then each linear alone, without its activation, on
  // the input that it had there.
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < 6; ++i) ids.push_back((i * 7919 + 3) % 2048);
  std::vector<ir::ValueId> inputs;
  for (const auto& [node, own] : linears) inputs.push_back(graph.node(node).inputs[0]);
  const auto values =
      reference::evaluate(graph, reference::decoder_feeds(graph, ids), inputs);
  size_t compared = 0, outliers = 0;
  for (const auto& [id, own] : linears) {
    ir::Node& node = graph.node(id);
    node.attributes["activation"] = std::string("none");
    node.inputs[1] = node.inputs[2] = ir::kAbsent;
    const std::vector<float>& x = values.at(node.inputs[0]).f;
    const std::vector<float> y =
        reference::evaluate(graph, {{node.inputs[0], values.at(node.inputs[0])}}, {node.outputs[0]})
            .at(node.outputs[0])
            .f;
    const size_t rows = own[0].codes.size(), columns = own[0].codes[0].size();
    REQUIRE(y.size() == ids.size() * rows);
    REQUIRE(x.size() == ids.size() * columns);
    for (size_t i = 0; i < y.size(); ++i) {
      const std::vector<float> line(x.begin() + ptrdiff_t(i / rows * columns),
                                    x.begin() + ptrdiff_t((i / rows + 1) * columns));
      const auto output = [&](const Linear& linear) {
        return test::slow_w8a8_output(line, linear.act_scale, linear.codes[i % rows],
                                      linear.scales[i % rows]);
      };
      const float expected = own.size() == 2 ? output(own[0]) * output(own[1]) : output(own[0]);
      REQUIRE(same_bits(y[i], expected));
      ++compared;
    }
    for (const float value : x) {
      const double steps = test::slow_steps(value, own[0].act_scale);
      outliers += steps > 127 || steps < -128;
    }
  }
  CHECK(compared > 20000);
  CHECK(outliers > 0);  // the limits of the codes were met
}

TEST_CASE("w8a8 calibration: whole sections, errors on rows held out, threads change nothing") {
  for (const char* name : {"tiny-gpt2", "tiny-qwen2"}) {
    double errors[2] = {0, 0};
    for (const bool per_channel : {false, true}) {
      INFO(name << ", per channel " << per_channel);
      const test::TemporaryFolder folder, other;
      Model model = load(name, Encoding::w8a8), again = load(name, Encoding::w8a8);
      Calibrated made = run(model, options_in(folder, 64.0f, per_channel));
      CalibrationOptions single = options_in(other, 64.0f, per_channel);
      single.threads = 1;
      Calibrated repeated = run(again, single);
      size_t matrices = 0;
      for (const QuantWeight& weight : model.weights) {
        matrices += weight.format.encoding == Encoding::w8a8;
      }
      REQUIRE(made.outcomes.size() == matrices);
      REQUIRE(matrices >= 6);
      for (size_t i = 0; i < made.outcomes.size(); ++i) {
        const WeightOutcome& outcome = made.outcomes[i];
        const WeightFormat& format = model.weights[outcome.weight].format;
        std::vector<uint8_t> codes, scales, same_codes, same_scales;
        made.journal->read(outcome.weight, &codes, &scales);
        repeated.journal->read(outcome.weight, &same_codes, &same_scales);
        CHECK(codes.size() == format.code_bytes());
        CHECK(scales.size() == format.pair_bytes());
        CHECK(codes == same_codes);
        CHECK(scales == same_scales);
        REQUIRE(outcome.activation.has_value());
        CHECK(same_bits(outcome.activation->step, repeated.outcomes[i].activation->step));
        // Far from the threshold, so all of the range is kept and nothing lies beyond it.
        CHECK(outcome.activation->step == outcome.input_most / 127.0f);
        CHECK(outcome.activation->outliers.outliers == 0);
        CHECK(outcome.output_error == outcome.activation->shadow_error);
        REQUIRE(outcome.output_error.has_value());
        CHECK(*outcome.output_error > 0.0);
        CHECK(*outcome.output_error < 0.01);
        CHECK(outcome.output_error == repeated.outcomes[i].output_error);
        errors[per_channel ? 1 : 0] += *outcome.output_error;
        if (format.rows > 0 && !per_channel && model.weights[outcome.weight].source->parts().size() == 1) {
          CHECK(w8a8_row(scales.data(), 0).scale == w8a8_row(scales.data(), format.rows - 1).scale);
        }
      }
    }
    INFO(name << ": per tensor " << errors[0] << ", per channel " << errors[1]);
    CHECK(errors[1] < errors[0]);
  }
}

TEST_CASE("w8a8 outliers: counted on all rows, their shadow makes the outputs better") {
  const test::TemporaryFolder folder;
  Model model = load("folktale-2m", Encoding::w8a8);
  const Calibrated made = run(model, options_in(folder, 1.0f));
  double plain = 0, shadowed = 0;
  for (const WeightOutcome& outcome : made.outcomes) {
    const OutlierStatistics& seen = outcome.activation->outliers;
    CHECK(outcome.activation->step == outcome.input_percentile_999 / 127.0f);
    CHECK(seen.rows == 5 * 24);
    CHECK(seen.columns == model.weights[outcome.weight].format.columns);
    // What lies beyond the 99.9th percentile, whose bin and rounding keep a few in.
    CHECK(seen.outliers > 0);
    CHECK(seen.saturation() <= 0.001);
    CHECK(seen.hit_rate >= 0.8);
    CHECK(seen.hot_channels.size() <= size_t(seen.channels));
    CHECK(std::is_sorted(seen.hot_channels.begin(), seen.hot_channels.end()));
    CHECK(seen.frequencies.size() == seen.hot_channels.size());
    plain += *outcome.output_error;
    shadowed += *outcome.activation->shadow_error;
  }
  INFO("cut off " << plain << ", shadow " << shadowed);
  CHECK(shadowed < 0.8 * plain);
}

TEST_CASE("an interrupted w8a8 calibration resumes with the same scales, codes and outliers") {
  const test::TemporaryFolder straight, broken;
  Model whole = load("tiny-qwen2", Encoding::w8a8), first = load("tiny-qwen2", Encoding::w8a8);
  Model second = load("tiny-qwen2", Encoding::w8a8), other = load("tiny-qwen2", Encoding::w8a8);
  Calibrated expected = run(whole, options_in(straight, 1.0f));
  struct Interrupted {};
  CHECK_THROWS_AS(run(first, options_in(broken, 1.0f), 5,
                      [](int done, int) {
                        if (done == 1) throw Interrupted{};
                      }),
                  Interrupted);
  Calibrated made = run(second, options_in(broken, 1.0f));
  CHECK(made.resumed_layers == 1);
  REQUIRE(made.outcomes.size() == expected.outcomes.size());
  for (size_t i = 0; i < made.outcomes.size(); ++i) {
    const WeightOutcome &a = made.outcomes[i], &b = expected.outcomes[i];
    REQUIRE(a.weight == b.weight);
    std::vector<uint8_t> codes, scales, expected_codes, expected_scales;
    made.journal->read(a.weight, &codes, &scales);
    expected.journal->read(b.weight, &expected_codes, &expected_scales);
    CHECK(codes == expected_codes);
    CHECK(scales == expected_scales);
    CHECK(same_bits(a.activation->step, b.activation->step));
    CHECK(a.activation->outliers.outliers == b.activation->outliers.outliers);
    CHECK(a.activation->outliers.hot_channels == b.activation->outliers.hot_channels);
    CHECK(a.activation->outliers.frequencies == b.activation->outliers.frequencies);
    CHECK(a.activation->outliers.hit_rate == b.activation->outliers.hit_rate);
    CHECK(a.activation->shadow_error == b.activation->shadow_error);
    CHECK(a.method == b.method);
  }
  // Another threshold is another conversion.
  CHECK(run(other, options_in(broken, 2.0f)).resumed_layers == 0);
}
