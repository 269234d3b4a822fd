// Weights and inputs that leave little to compute, through every method.
#include <algorithm>
#include <cmath>

#include "converter/quant/calibrate.h"
#include "runtime/base/error.h"
#include "test/quant/model.h"
#include "test/support/catch.h"
#include "test/support/command.h"

using namespace pocket;
using test::load;
using test::Model;
using test::some_windows;

namespace {

constexpr Encoding kEncodings[] = {Encoding::m0e4, Encoding::int4};

const std::string kFolder = std::string(POCKET_SOURCE_DIR) + "/models";

struct Matrix {
  int64_t rows = 0, columns = 0;
  std::vector<float> values;  // [rows, columns]
};

// Changes the weights of the linear number `which` of those that hold one matrix.
void change_linear(ir::Graph& graph, int which, const std::function<void(Matrix&)>& change) {
  for (const ir::NodeId id : graph.order()) {
    const ir::Node& node = graph.node(id);
    if (!node.is("Linear", "pocket") || node.inputs.size() != 4 || which-- > 0) continue;
    std::optional<ir::TensorData>& constant = graph.value(node.inputs[3]).constant;
    const std::vector<float> stored = constant->as_floats();
    const bool transposed = node.integers("transposed").at(0) != 0;
    Matrix matrix{constant->shape[transposed ? 1 : 0], constant->shape[transposed ? 0 : 1], stored};
    const auto place = [&](int64_t row, int64_t column) {
      return static_cast<size_t>(transposed ? column * matrix.rows + row
                                            : row * matrix.columns + column);
    };
    for (int64_t i = 0; i < matrix.rows * matrix.columns; ++i) {
      matrix.values[static_cast<size_t>(i)] = stored[place(i / matrix.columns, i % matrix.columns)];
    }
    change(matrix);
    std::vector<float> changed(stored.size());
    for (int64_t i = 0; i < matrix.rows * matrix.columns; ++i) {
      const float value = matrix.values[static_cast<size_t>(i)];
      changed[place(i / matrix.columns, i % matrix.columns)] = value;
    }
    constant = ir::TensorData::from_floats(constant->shape, changed);
    return;
  }
  FAIL("the model has too few linears");
}

std::vector<float> decoded(const WeightFormat& format, Journal& journal, size_t weight) {
  std::vector<uint8_t> codes, pairs;
  journal.read(weight, &codes, &pairs);
  std::vector<float> values(static_cast<size_t>(format.rows * format.columns));
  for (int64_t row = 0; row < format.rows; ++row) {
    unpack_row(format, codes.data(), pairs.data(), row, values.data() + row * format.columns);
  }
  return values;
}

// Calls `check` with what each method, in each encoding, made of the model that `make` gives.
void for_each_method(const std::function<Model(Encoding)>& make,
                     const std::function<void(Model&, Calibrated&)>& check) {
  for (const Encoding encoding : kEncodings) {
    for (const bool awq : {false, true}) {
      for (const bool gptq : {false, true}) {
        INFO(encoding_name(encoding) << ", awq " << awq << ", gptq " << gptq);
        const test::TemporaryFolder folder;
        Model model = make(encoding);
        CalibrationOptions options;
        options.awq = awq;
        options.gptq = gptq;
        options.state_folder = folder / "state";
        Calibrated made = calibrate(model.graph, model.layers.layer_of, model.layers.layers,
                                    model.weights, some_windows(model.lowered.program.vocab),
                                    options, [](int, int) {});
        check(model, made);
      }
    }
  }
}

}  // namespace

TEST_CASE("a matrix of zeros decodes to zeros") {
  const auto make = [](Encoding encoding) {
    return load("tiny-qwen2", encoding, 32, kFolder, [](ir::Graph& graph) {
      change_linear(graph, 1, [](Matrix& m) { m.values.assign(m.values.size(), 0.0f); });
    });
  };
  for_each_method(make, [](Model& model, Calibrated& made) {
    size_t zeros = 0;
    for (const WeightOutcome& outcome : made.outcomes) {
      const WeightFormat& format = model.weights[outcome.weight].format;
      std::vector<float> values(static_cast<size_t>(format.rows * format.columns));
      model.weights[outcome.weight].source->read_rows(0, format.rows, values.data());
      const bool zero = std::all_of(values.begin(), values.end(), [](float x) { return x == 0; });
      CHECK(outcome.output_error.has_value() == !zero);  // no error relative to nothing
      if (!zero) continue;
      ++zeros;
      CHECK(decoded(format, *made.journal, outcome.weight) == values);
      CHECK(outcome.error.squared_error == 0.0);
    }
    CHECK(zeros == 1);
  });
}

TEST_CASE("a column and a row that are constant, and a weight much larger than the rest") {
  const auto make = [](Encoding encoding) {
    return load("tiny-qwen2", encoding, 32, kFolder, [](ir::Graph& graph) {
      change_linear(graph, 0, [](Matrix& m) {
        for (int64_t row = 0; row < m.rows; ++row) {
          m.values[static_cast<size_t>(row * m.columns + 5)] = 0.05f;
        }
        std::fill_n(m.values.begin() + 3 * m.columns, m.columns, -0.02f);
        m.values[static_cast<size_t>(7 * m.columns + 1)] = 3.0f;
      });
    });
  };
  for_each_method(make, [](Model& model, Calibrated& made) {
    REQUIRE(made.outcomes.size() > 5);
    for (const WeightOutcome& outcome : made.outcomes) {
      const WeightFormat& format = model.weights[outcome.weight].format;
      REQUIRE(outcome.output_error.has_value());
      CHECK(*outcome.output_error < 0.1);
      CHECK(outcome.error.saturated < format.rows * format.columns / 4);
      for (const float value : decoded(format, *made.journal, outcome.weight)) {
        REQUIRE(std::isfinite(value));
      }
    }
  });
}

TEST_CASE("rows that no group divides, and groups longer than a row") {
  for (const int64_t group : {16, 32, 64, 256}) {
    INFO("group " << group);
    for_each_method([&](Encoding encoding) { return load("tiny-qwen2", encoding, group); },
                    [&](Model& model, Calibrated& made) {
                      size_t short_groups = 0;
                      for (const WeightOutcome& outcome : made.outcomes) {
                        const WeightFormat& format = model.weights[outcome.weight].format;
                        short_groups += format.columns % format.group != 0;
                        REQUIRE(outcome.output_error.has_value());
                        CHECK(*outcome.output_error < 0.1);
                      }
                      // Of width 48 and 88, one of each in a layer of its own kind.
                      CHECK(short_groups > 0);
                      CHECK((short_groups == made.outcomes.size()) == (group > 16));
                    });
  }
}
