#include "converter/quant/awq.h"

#include <numeric>
#include <random>

#include "converter/quant/moments.h"
#include "converter/quant/rtn.h"
#include "runtime/base/error.h"
#include "test/quant/slow_awq.h"
#include "test/support/catch.h"

using namespace pocket;

namespace {

// Inputs of which a few are much larger than the rest: what AWQ is for.
MomentsCollector::Rows uneven_inputs(int64_t samples, int64_t columns, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  MomentsCollector::Rows x(samples, columns);
  for (Eigen::Index row = 0; row < samples; ++row) {
    for (Eigen::Index k = 0; k < columns; ++k) {
      x(row, k) = normal(random) * (k % 16 == 3 ? 12.0f : 1.0f);
    }
  }
  return x;
}

AwqProblem::Rows weights(int64_t rows, int64_t columns, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, 0.05f);
  AwqProblem::Rows w(rows, columns);
  for (float& value : w.reshaped()) value = normal(random);
  return w;
}

InputStatistics measure(const MomentsCollector::Rows& x, int64_t held_out = 0) {
  MomentsCollector collector("w", x.cols());
  collector.add(x.topRows(x.rows() - held_out), false, 2);
  if (held_out > 0) collector.add(x.bottomRows(held_out), true, 2);
  return collector.finish();
}

std::vector<std::vector<float>> rows_of(const AwqProblem::Rows& w) {
  std::vector<std::vector<float>> rows;
  for (Eigen::Index i = 0; i < w.rows(); ++i) {
    rows.emplace_back(w.row(i).data(), w.row(i).data() + w.cols());
  }
  return rows;
}

std::vector<std::vector<double>> slow(const Eigen::MatrixXf& moments) {
  std::vector<std::vector<double>> out(size_t(moments.rows()),
                                       std::vector<double>(size_t(moments.cols())));
  for (Eigen::Index i = 0; i < moments.rows(); ++i) {
    for (Eigen::Index j = 0; j < moments.cols(); ++j) out[size_t(i)][size_t(j)] = moments(i, j);
  }
  return out;
}

}  // namespace

TEST_CASE("the statistics of an input equal plain sums over its rows") {
  const int64_t samples = 90, columns = 200, held_out = 20;
  const MomentsCollector::Rows x = uneven_inputs(samples, columns, 1);
  const InputStatistics found = measure(x, held_out);
  CHECK(found.rows == samples - held_out);
  CHECK(found.held_out_rows == held_out);
  for (const bool held : {false, true}) {
    const int64_t first = held ? samples - held_out : 0, last = held ? samples : samples - held_out;
    const Eigen::MatrixXf& moments = held ? found.held_out_second : found.second;
    REQUIRE(moments.rows() == columns);
    for (const auto& [a, b] : {std::pair<int64_t, int64_t>{0, 0}, {3, 199}, {199, 3}, {140, 19}}) {
      double sum = 0;
      for (int64_t row = first; row < last; ++row) sum += double(x(row, a)) * double(x(row, b));
      CHECK(double(moments(a, b)) == Approx(sum / double(last - first)).epsilon(1e-4).margin(1e-4));
    }
    CHECK((moments - moments.transpose()).cwiseAbs().maxCoeff() == 0.0f);
  }
  double mean = 0;
  for (int64_t row = 0; row < samples - held_out; ++row) mean += std::fabs(double(x(row, 3)));
  CHECK(double(found.mean_magnitude[3]) == Approx(mean / double(samples - held_out)));
  std::vector<float> magnitudes;
  for (const float value : x.reshaped()) magnitudes.push_back(std::fabs(value));
  std::sort(magnitudes.begin(), magnitudes.end());
  CHECK(found.most == magnitudes.back());
  const auto index = size_t(std::ceil(0.999 * double(magnitudes.size()))) - 1;
  CHECK(found.percentile_999 >= magnitudes[index]);
  CHECK(found.percentile_999 <= magnitudes[index] * (1 + 0x1p-11f) * 1.000001f);
}

TEST_CASE("the statistics do not depend on the number of threads") {
  const MomentsCollector::Rows x = uneven_inputs(70, 300, 2);
  MomentsCollector one("w", 300), three("w", 300);
  one.add(x, false, 1);
  three.add(x, false, 3);
  CHECK(one.finish().second == three.finish().second);
}

TEST_CASE("an input that is no finite number is refused with the linear's name") {
  MomentsCollector collector("layer.q", 4);
  MomentsCollector::Rows x = MomentsCollector::Rows::Ones(2, 4);
  x(1, 2) = std::nanf("");
  CHECK_THROWS_WITH(collector.add(x, false, 1), Catch::Contains("'layer.q'"));
  CHECK_THROWS_WITH(MomentsCollector("layer.q", 4).finish(), Catch::Contains("no row"));
}

TEST_CASE("AWQ finds the scales of its slow twin, alone and shared by heads") {
  for (const Encoding encoding : {Encoding::m0e4, Encoding::int4}) {
    for (const int64_t group : {16, 32, 128}) {
      for (const bool shared : {false, true}) {
        const int64_t columns = 72;  // not divisible by the group
        const MomentsCollector::Rows x = uneven_inputs(200, columns, 3);
        const InputStatistics statistics = measure(x);
        AwqProblem problem;
        problem.encoding = encoding;
        problem.group = group;
        problem.moments = &statistics.second;
        problem.magnitudes = statistics.mean_magnitude;
        std::vector<size_t> sources;
        for (int64_t k = 0; k < columns; ++k) {
          sources.push_back(size_t(shared ? k % 36 : k));  // two query heads read one of values
          problem.sources.push_back(int64_t(sources.back()));
        }
        problem.scales = shared ? 36 : columns;
        problem.rows = weights(24, columns, uint32_t(group));
        const AwqScales found = awq_search(problem, 2);
        const test::SlowScales twin =
            test::slow_awq(encoding == Encoding::m0e4, size_t(group), rows_of(problem.rows),
                           slow(statistics.second), statistics.mean_magnitude, sources,
                           size_t(problem.scales));
        INFO("group " << group << ", shared " << shared << ": ratio " << twin.ratio);
        REQUIRE(found.ratio == Approx(twin.ratio));
        REQUIRE(found.scales.size() == twin.scales.size());
        for (size_t i = 0; i < twin.scales.size(); ++i) {
          REQUIRE(found.scales[i] == Approx(twin.scales[i]).epsilon(1e-6));
        }
        CHECK(found.loss == Approx(twin.loss).epsilon(1e-3));
        CHECK(found.loss <= found.unscaled_loss);
        if (!shared) CHECK(found.ratio > 0.0);  // the large inputs pay for it
      }
    }
  }
}

TEST_CASE("inputs of equal size, or none at all, leave the scales at one") {
  AwqProblem problem;
  problem.group = 32;
  const Eigen::MatrixXf moments = Eigen::MatrixXf::Identity(64, 64);
  problem.moments = &moments;
  problem.sources.resize(64);
  std::iota(problem.sources.begin(), problem.sources.end(), 0);
  problem.scales = 64;
  problem.rows = weights(8, 64, 5);
  for (const float magnitude : {0.0f, 0.5f}) {
    problem.magnitudes.assign(64, magnitude);
    for (const float scale : awq_search(problem, 1).scales) CHECK(scale == Approx(1.0f));
  }
}

TEST_CASE("the clip search on outputs equals its slow twin") {
  for (const Encoding encoding : {Encoding::m0e4, Encoding::int4}) {
    for (const int64_t group : {16, 32, 128}) {
      const int64_t rows = 6, columns = 172;
      const WeightFormat format{encoding, rows, columns, group};
      const Eigen::MatrixXf moments = measure(uneven_inputs(300, columns, 6)).second;
      AwqProblem::Rows w = weights(rows, columns, 7);
      w.row(1).setZero();
      for (int64_t k = 0; k < columns; k += 9) w(2, k) *= 6.0f;
      std::vector<uint8_t> codes(size_t(rows * format.padded_columns()), 77);
      std::vector<uint32_t> pairs(size_t(rows * format.groups()), 77);
      awq_clip(format, "w", moments, w.data(), codes.data(), pairs.data());
      for (int64_t row = 0; row < rows; ++row) {
        for (int64_t g = 0; g < format.groups(); ++g) {
          const int64_t first = g * group, count = std::min(group, columns - first);
          if (count <= 0) {  // behind an odd number of groups of 16
            REQUIRE(pairs[size_t(row * format.groups() + g)] == 0);
            continue;
          }
          const float* begin = w.data() + row * columns + first;
          const test::SlowGroup twin = test::slow_clip(
              encoding == Encoding::m0e4, {begin, begin + count},
              [&](const std::vector<double>& d) {
                double loss = 0;
                for (int64_t a = 0; a < count; ++a) {
                  for (int64_t b = 0; b < count; ++b) {
                    loss += d[size_t(a)] * double(moments(first + a, first + b)) * d[size_t(b)];
                  }
                }
                return loss;
              });
          REQUIRE(pairs[size_t(row * format.groups() + g)] == twin.pair());
          for (int64_t k = 0; k < count; ++k) {
            REQUIRE(int(codes[size_t(row * format.padded_columns() + first + k)]) ==
                    twin.codes[size_t(k)]);
          }
        }
        for (int64_t k = columns; k < format.padded_columns(); ++k) {
          REQUIRE(codes[size_t(row * format.padded_columns() + k)] == 0);
        }
      }
    }
  }
}
