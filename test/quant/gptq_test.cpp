#include "converter/quant/gptq.h"

#include <Eigen/Eigenvalues>
#include <limits>
#include <random>

#include "converter/quant/awq_gptq.h"
#include "converter/quant/rtn.h"
#include "runtime/base/error.h"
#include "test/quant/gaussian.h"
#include "test/quant/slow_gptq.h"
#include "test/support/catch.h"

using namespace pocket;
using test::gaussian;

namespace {

// Inputs that go together, as those of a model do.
Eigen::MatrixXf moments_of(int64_t columns, int64_t samples, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  Eigen::MatrixXf x(samples, columns), mix(columns, columns);
  for (float& value : x.reshaped()) value = normal(random);
  for (float& value : mix.reshaped()) value = 0.3f * normal(random);
  mix.diagonal().array() += 1.0f;
  for (int64_t k = 0; k < columns; k += 5) mix.col(k) *= 4.0f;  // some inputs matter more
  x = (x * mix).eval();
  return x.transpose() * x / static_cast<float>(samples);
}

test::SlowMatrix slow(const Eigen::MatrixXf& moments) {
  test::SlowMatrix out(size_t(moments.rows()), std::vector<double>(size_t(moments.cols())));
  for (Eigen::Index i = 0; i < moments.rows(); ++i) {
    for (Eigen::Index j = 0; j < moments.cols(); ++j) out[size_t(i)][size_t(j)] = moments(i, j);
  }
  return out;
}

struct Coded {
  std::vector<uint8_t> codes;
  std::vector<uint32_t> pairs;
  QuantError error;
};

Coded coded(const WeightFormat& format) {
  return {std::vector<uint8_t>(size_t(format.rows * format.padded_columns()), 77),
          std::vector<uint32_t>(size_t(format.rows * format.groups()), 77), {}};
}

Coded run_gptq(const WeightFormat& format, const Eigen::MatrixXf& moments,
               const std::vector<float>& values, const GptqOptions& options = {}) {
  Coded out = coded(format);
  const GptqFactor factor("w", moments, options);
  out.error = gptq(format, "w", factor, values.data(), out.codes.data(), out.pairs.data());
  return out;
}

Coded run_rtn(const WeightFormat& format, const std::vector<float>& values) {
  Coded out = coded(format);
  out.error = rtn(format, "w", values.data(), out.codes.data(), out.pairs.data());
  return out;
}

// Mean squared error of the output: sum over the rows of d^T M d.
double output_error(const WeightFormat& format, const Eigen::MatrixXf& moments,
                    const std::vector<float>& values, const Coded& made) {
  double sum = 0;
  for (int64_t row = 0; row < format.rows; ++row) {
    Eigen::VectorXd d(format.columns);
    for (int64_t k = 0; k < format.columns; ++k) {
      test::SlowGroup pair;
      const uint32_t bits = made.pairs[size_t(row * format.groups() + k / format.group)];
      pair.scale = uint16_t(bits);
      pair.second = uint16_t(bits >> 16);
      const int code = made.codes[size_t(row * format.padded_columns() + k)];
      d(k) = double(values[size_t(row * format.columns + k)]) -
             double(test::slow_decode(format.encoding == Encoding::m0e4, pair, code));
    }
    sum += d.dot(moments.cast<double>() * d);
  }
  return sum;
}

}  // namespace

TEST_CASE("GPTQ equals its slow twin: groups 16 to 256, short last groups, blocks, act-order, no clip") {
  struct Case {
    int64_t columns, group;
  };
  // 172 is the hidden width of stories260K; a group longer than the row is one group.
  const Case cases[] = {{64, 32}, {40, 32}, {172, 64}, {172, 16}, {100, 128}, {80, 256}, {1, 32}};
  for (const Encoding encoding : {Encoding::m0e4, Encoding::int4}) {
    for (const Case& one : cases) {
      for (const auto& [act_order, clip] :
           {std::pair(false, true), std::pair(true, true), std::pair(false, false)}) {
        INFO("columns " << one.columns << ", group " << one.group << ", act-order " << act_order
                        << ", clip " << clip);
        const int64_t rows = 5;
        const WeightFormat format{encoding, rows, one.columns, one.group};
        const std::vector<float> values = gaussian(rows * one.columns, uint32_t(one.columns));
        const Eigen::MatrixXf moments = moments_of(one.columns, 2 * one.columns + 3, 3);
        GptqOptions options;
        options.act_order = act_order;
        options.clip = clip;
        options.threads = 2;
        const Coded made = run_gptq(format, moments, values, options);
        std::vector<std::vector<float>> slow_rows;
        for (int64_t row = 0; row < rows; ++row) {
          slow_rows.emplace_back(values.begin() + row * one.columns,
                                 values.begin() + (row + 1) * one.columns);
        }
        const test::SlowGptq twin =
            test::slow_gptq(encoding == Encoding::m0e4, slow_rows, slow(moments),
                            size_t(one.group), act_order, 0.01, clip);
        for (int64_t row = 0; row < rows; ++row) {
          for (int64_t g = 0; g < format.groups(); ++g) {
            const bool filled = g * one.group < one.columns;  // not behind an odd number of 16
            REQUIRE(made.pairs[size_t(row * format.groups() + g)] ==
                    (filled ? twin.pairs[size_t(row)][size_t(g)].pair() : 0));
          }
          for (int64_t k = 0; k < format.padded_columns(); ++k) {
            REQUIRE(int(made.codes[size_t(row * format.padded_columns() + k)]) ==
                    (k < one.columns ? twin.codes[size_t(row)][size_t(k)] : 0));
          }
        }
      }
    }
  }
}

TEST_CASE("GPTQ loses less of the output than rounding to nearest") {
  for (const Encoding encoding : {Encoding::m0e4, Encoding::int4}) {
    for (const bool act_order : {false, true}) {
      const WeightFormat format{encoding, 32, 160, 32};
      const std::vector<float> values = gaussian(32 * 160, 8);
      const Eigen::MatrixXf moments = moments_of(160, 1000, 9);
      GptqOptions options;
      options.act_order = act_order;
      const double by_gptq =
          output_error(format, moments, values, run_gptq(format, moments, values, options));
      const double by_rtn = output_error(format, moments, values, run_rtn(format, values));
      INFO("GPTQ " << by_gptq << ", round to nearest " << by_rtn);
      CHECK(by_gptq < 0.7 * by_rtn);
    }
  }
}

TEST_CASE("independent inputs of equal size leave nothing to feed back") {
  const WeightFormat format{Encoding::m0e4, 16, 96, 32};
  const std::vector<float> values = gaussian(16 * 96, 4);
  const Eigen::MatrixXf moments = Eigen::MatrixXf::Identity(96, 96);
  const Coded made = run_gptq(format, moments, values), nearest = run_rtn(format, values);
  CHECK(made.codes == nearest.codes);
  CHECK(made.pairs == nearest.pairs);
  CHECK(made.error.squared_error == nearest.error.squared_error);
}

TEST_CASE("inputs that were always zero, one token and an empty matrix of moments are fine") {
  const WeightFormat format{Encoding::m0e4, 8, 64, 32};
  const std::vector<float> values = gaussian(8 * 64, 5);
  const Coded nearest = run_rtn(format, values);
  SECTION("no input was ever other than zero") {
    const Coded made = run_gptq(format, Eigen::MatrixXf::Zero(64, 64), values);
    CHECK(made.codes == nearest.codes);
  }
  SECTION("some inputs were always zero: their columns are rounded to nearest") {
    Eigen::MatrixXf moments = moments_of(64, 200, 6);
    moments.row(3).setZero();
    moments.col(3).setZero();
    const Coded made = run_gptq(format, moments, values);
    CHECK(made.error.squared_error < 4 * nearest.error.squared_error);
  }
  SECTION("a single token: moments of rank 1") {
    const Eigen::MatrixXf moments = moments_of(64, 1, 7);
    const Coded made = run_gptq(format, moments, values);
    CHECK(output_error(format, moments, values, made) <
          output_error(format, moments, values, nearest));
  }
}

TEST_CASE("a constant column and a matrix of zeros") {
  const WeightFormat format{Encoding::m0e4, 8, 64, 32};
  const Eigen::MatrixXf moments = moments_of(64, 200, 10);
  const std::vector<float> zeros(8 * 64, 0.0f);
  CHECK(run_gptq(format, moments, zeros).error.squared_error == 0.0);
  std::vector<float> values = gaussian(8 * 64, 11);
  for (size_t row = 0; row < 8; ++row) values[row * 64 + 9] = 0.05f;
  const Coded made = run_gptq(format, moments, values);
  CHECK(output_error(format, moments, values, made) <
        output_error(format, moments, values, run_rtn(format, values)));
}

TEST_CASE("damping is raised until the moments can be factored, and NaN is refused") {
  Eigen::MatrixXf moments = moments_of(32, 100, 12);
  CHECK(GptqFactor("w", moments, {}).damping() == 0.01);
  // Not positive definite by more than 1 % of the mean of the diagonal.
  const float least = moments.selfadjointView<Eigen::Lower>().eigenvalues().minCoeff();
  const float mean = moments.diagonal().mean();
  moments.diagonal().array() -= least + 0.05f * mean;
  CHECK(GptqFactor("w", moments, {}).damping() == Approx(0.1));
  moments(5, 6) = moments(6, 5) = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_WITH(GptqFactor("layer.w", moments, {}),
                    Catch::Contains("'layer.w'") && Catch::Contains("not finite"));
  const Eigen::MatrixXf negative = -Eigen::MatrixXf::Identity(4, 4) + 2.0f * Eigen::MatrixXf::Ones(4, 4);
  CHECK_NOTHROW(GptqFactor("w", negative, {}));
  Eigen::MatrixXf hopeless = Eigen::MatrixXf::Identity(4, 4);
  hopeless(0, 0) = -100.0f;
  CHECK_THROWS_WITH(GptqFactor("w", hopeless, {}), Catch::Contains("positive definite"));
}

TEST_CASE("what scales of the columns cost behind GPTQ equals a plain sum over its slow twin") {
  const int64_t rows = 70, columns = 72, group = 32;  // more rows than a tile, a short last group
  const std::vector<float> values = gaussian(rows * columns, 5);
  const Eigen::Map<const AwqProblem::Rows> w(values.data(), rows, columns);
  const Eigen::MatrixXf seen = moments_of(columns, 300, 6), judge = moments_of(columns, 200, 7);
  std::vector<float> scales, uneven;
  for (int64_t k = 0; k < columns; ++k) {
    scales.push_back(0.5f + 0.25f * float(k % 7));
    uneven.push_back(k % 2 == 0 ? 1.0f / 64 : 64.0f);  // the other half of a group gets no steps
  }
  for (const Encoding encoding : {Encoding::m0e4, Encoding::int4}) {
    const bool m0e4 = encoding == Encoding::m0e4;
    const auto loss = [&](const std::vector<float>& factors) {
      return loss_behind_gptq(encoding, group, "w", w, factors, seen, judge, {.threads = 2});
    };
    std::vector scaled(size_t{rows}, std::vector<float>(size_t{columns}));
    test::SlowMatrix moments = slow(seen);
    for (size_t k = 0; k < size_t(columns); ++k) {
      for (size_t row = 0; row < size_t(rows); ++row) {
        scaled[row][k] = w(Eigen::Index(row), Eigen::Index(k)) * scales[k];
      }
      for (size_t j = 0; j < size_t(columns); ++j) {
        moments[k][j] /= double(scales[k]) * double(scales[j]);
      }
    }
    const test::SlowGptq twin = test::slow_gptq(m0e4, scaled, moments, size_t(group), false);
    double plain = 0;
    for (size_t row = 0; row < size_t(rows); ++row) {
      Eigen::VectorXd lost(columns);
      for (size_t k = 0; k < size_t(columns); ++k) {
        const auto& pair = twin.pairs[row][k / size_t(group)];
        const double decoded = double(test::slow_decode(m0e4, pair, twin.codes[row][k]));
        lost(Eigen::Index(k)) = (decoded - double(scaled[row][k])) / double(scales[k]);
      }
      plain += lost.dot(judge.cast<double>() * lost);
    }
    CHECK(loss(scales) == Approx(plain).epsilon(1e-3));
    CHECK(loss(uneven) > 2 * loss(std::vector<float>(size_t(columns), 1.0f)));
  }
}
