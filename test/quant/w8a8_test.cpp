// Scales and codes of w8a8, and its products by the reference executor, against plain integers.
#include "converter/quant/w8a8.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "converter/quant/magnitudes.h"
#include "converter/quant/sites.h"
#include "converter/reference/executor.h"
#include "runtime/base/error.h"
#include "test/quant/gaussian.h"
#include "test/quant/slow_w8a8.h"
#include "test/support/catch.h"

using namespace pocket;
using test::gaussian;

namespace {

WeightPart part_of(const std::vector<float>& values, int64_t rows, int64_t first = 0,
                   int64_t count = 0) {
  const int64_t columns = int64_t(values.size()) / rows;
  return {ir::TensorData::from_floats({rows, columns}, values), false, first,
          count > 0 ? count : rows};
}

// A product of codes in a graph of one node, as put_codes() leaves it.
struct Product {
  int64_t columns = 0;
  float act_scale = 0.0f;
  bool shadow = false;
  std::vector<int> codes;     // [rows, columns]
  std::vector<float> scales;  // [rows]
  int64_t rows() const { return int64_t(scales.size()); }
  std::vector<int> row(int64_t n) const {
    return {codes.begin() + n * columns, codes.begin() + (n + 1) * columns};
  }
};

std::vector<float> run(const Product& product, const std::vector<float>& x, bool gated,
                       const std::vector<float>& bias = {},
                       const std::vector<float>& residual = {}) {
  ir::Graph graph;
  const auto constant = [&](const std::vector<float>& values, std::vector<int64_t> shape) {
    return graph.add_constant("c", ir::TensorData::from_floats(std::move(shape), values));
  };
  const auto count = int64_t(x.size()) / product.columns;
  const ir::ValueId input = constant(x, {count, product.columns});
  const int64_t half = gated ? product.rows() / 2 : product.rows();
  ir::Node node;
  node.domain = "pocket";
  node.op = gated ? "GatedLinear" : "Linear";
  node.name = "product";
  const auto weight = [&] {
    return constant(std::vector<float>(size_t(half * product.columns)), {half, product.columns});
  };
  node.inputs = {input, bias.empty() ? ir::kAbsent : constant(bias, {int64_t(bias.size())}),
                 residual.empty() ? ir::kAbsent : constant(residual, {count, product.rows()}),
                 weight()};
  const size_t parts = gated ? 2 : 1;
  if (gated) node.inputs.push_back(weight());
  node.attributes["transposed"] = std::vector<int64_t>(parts, 0);
  node.attributes["first_row"] = std::vector<int64_t>(parts, 0);
  node.attributes["rows"] = std::vector<int64_t>(parts, half);
  node.attributes["activation"] = std::string(gated ? "relu" : "none");
  const ir::NodeId id = graph.add_node(std::move(node));
  const ir::ValueId y = graph.add_output(id, "y", ir::ElementType::f32);
  // The up projection first: the order of the calls must not matter.
  for (int64_t at = int64_t(parts) - 1; at >= 0; --at) {
    CodedWeight coded;
    const auto first = product.codes.begin() + at * half * product.columns;
    coded.codes.assign(first, first + half * product.columns);
    coded.scales.assign(product.scales.begin() + at * half,
                        product.scales.begin() + (at + 1) * half);
    coded.act_scale = product.act_scale;
    coded.shadow = product.shadow;
    put_codes(graph, {id, size_t(3 + at), 1}, std::move(coded));
  }
  return reference::evaluate(graph, {}, {y}).at(y).f;
}

Product some_product(int64_t rows, int64_t columns, uint32_t seed) {
  Product product;
  product.columns = columns;
  product.act_scale = 0.0117f;
  for (const float v : gaussian(rows * columns, seed, 60.0f)) {
    product.codes.push_back(int(std::fmax(-127.0f, std::fmin(127.0f, std::round(v)))));
  }
  for (const float v : gaussian(rows, seed + 1)) product.scales.push_back(std::fabs(v) + 1e-3f);
  return product;
}

}  // namespace

TEST_CASE("the scale of an input: its maximum, or its percentile where that lies far below") {
  // top_0_1 * threshold > ori: clipped safe.
  ActivationScale scale = activation_scale(127.0f, 2.0f, 64.0f);
  CHECK(scale.step == 1.0f);
  CHECK_FALSE(scale.outliers);
  scale = activation_scale(127.0f, 2.0f, 5.0f);
  CHECK(scale.step == 2.0f / 127.0f);
  CHECK(scale.outliers);
  scale = activation_scale(128.0f, 2.0f, 64.0f);  // just not above
  CHECK(scale.outliers);
  // Nothing lies beyond a percentile that is the maximum.
  CHECK_FALSE(activation_scale(3.0f, 3.0f, 1.0f).outliers);
  // An input that was always zero.
  scale = activation_scale(0.0f, 0.0f, 64.0f);
  CHECK(scale.step == 1e-5f / 127.0f);
  CHECK_FALSE(scale.outliers);
}

TEST_CASE("the 99.9th percentile of magnitudes lies within 2^-11 of that of a sorted list") {
  for (const int64_t count : {1, 40, 999, 1000, 1001, 30000}) {
    const std::vector<float> values = gaussian(count, uint32_t(count), 3.0f);
    Magnitudes magnitudes("w");
    for (int64_t first = 0; first < count; first += 7000) {  // in pieces
      const int64_t taken = std::min<int64_t>(7000, count - first);
      magnitudes.add(Eigen::Map<const Magnitudes::Rows>(values.data() + first, taken, 1));
    }
    std::vector<float> sorted;
    for (const float v : values) sorted.push_back(std::fabs(v));
    std::sort(sorted.begin(), sorted.end());
    const auto needed = size_t(std::ceil(0.999 * double(count)));
    const float exact = sorted[needed - 1];
    CHECK(magnitudes.most() == sorted.back());
    CHECK(magnitudes.percentile_999() >= exact);
    CHECK(magnitudes.percentile_999() <= exact * (1.0f + 0x1p-11f));
  }
}

TEST_CASE("codes of weights equal their slow twin: one scale a linear, or one a row") {
  const int64_t columns = 45;
  // Two linears of the model merged; of the second, which the file holds whole, two pieces.
  const std::vector<float> q = gaussian(300 * columns, 1, 0.05f), kv = gaussian(90 * columns, 2, 0.4f);
  const WeightPart whole = part_of(kv, 90);
  WeightPart v = whole;
  v.first_row = 40;
  v.rows = 50;
  WeightPart k = whole;
  k.rows = 40;
  const WeightSource source({part_of(q, 300), k, v});
  const W8a8Codes by_tensor = w8a8_codes("w", source, false, 2);
  const test::SlowCodes slow_q = test::slow_w8a8(q), slow_kv = test::slow_w8a8(kv);
  REQUIRE(by_tensor.codes.size() == slow_q.codes.size() + slow_kv.codes.size());
  CHECK(std::equal(slow_q.codes.begin(), slow_q.codes.end(), by_tensor.codes.begin()));
  CHECK(std::equal(slow_kv.codes.begin(), slow_kv.codes.end(),
                   by_tensor.codes.begin() + 300 * columns));
  for (int64_t row = 0; row < 390; ++row) {
    REQUIRE(by_tensor.scales[size_t(row)] == (row < 300 ? slow_q.scale : slow_kv.scale));
  }
  const W8a8Codes by_row = w8a8_codes("w", source, true, 1);
  for (int64_t row = 0; row < 390; ++row) {
    const auto first = (row < 300 ? q.begin() : kv.begin() - 300 * columns) + row * columns;
    const test::SlowCodes slow = test::slow_w8a8({first, first + columns});
    REQUIRE(by_row.scales[size_t(row)] == slow.scale);
    REQUIRE(std::equal(slow.codes.begin(), slow.codes.end(), by_row.codes.begin() + row * columns));
  }
  CHECK(by_row.error.squared_error < by_tensor.error.squared_error);
  CHECK(w8a8_codes("w", source, false, 1).codes == by_tensor.codes);
}

TEST_CASE("a matrix of zeros has codes of zero, one that is not finite is refused") {
  const std::vector<float> zeros(64);
  const W8a8Codes made = w8a8_codes("w", WeightSource({part_of(zeros, 4)}), false, 2);
  CHECK(std::count(made.codes.begin(), made.codes.end(), 0) == 64);
  CHECK(made.scales == std::vector<float>(4, 1e-5f / 127.0f));
  std::vector<float> damaged = gaussian(64, 3);
  damaged[40] = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_WITH(w8a8_codes("layer.weight", WeightSource({part_of(damaged, 4)}), true, 2),
                    Catch::Contains("layer.weight"));
}

TEST_CASE("outliers are counted by channel, and the fewest that carry 80 % are hot") {
  const int64_t rows = 400, columns = 30;
  std::vector<float> x = gaussian(rows * columns, 4, 20.0f);
  for (int64_t row = 0; row < rows; ++row) {
    for (const int64_t k : {3, 17}) x[size_t(row * columns + k)] *= 6.0f;
  }
  const float step = 0.5f;
  OutlierCounter counter(columns, step);
  counter.add(Eigen::Map<const OutlierCounter::Rows>(x.data(), 100, columns));
  counter.add(Eigen::Map<const OutlierCounter::Rows>(x.data() + 100 * columns, 300, columns));
  const OutlierStatistics seen = counter.finish();
  std::vector<int64_t> counts(static_cast<size_t>(columns));
  int64_t all = 0, channels = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double steps = test::slow_steps(x[i], step);
    const bool outlier = steps > 127 || steps < -128;
    counts[i % size_t(columns)] += outlier;
    all += outlier;
  }
  for (const int64_t count : counts) channels += count > 0;
  REQUIRE(all > 100);
  CHECK(seen.rows == rows);
  CHECK(seen.outliers == all);
  CHECK(seen.channels == channels);
  CHECK(seen.saturation() == Approx(double(all) / double(rows * columns)));
  CHECK(seen.hot_channels == std::vector<int32_t>{3, 17});
  const int64_t hot = counts[3] + counts[17];
  CHECK(seen.hit_rate == Approx(double(hot) / double(all)));
  CHECK(seen.hit_rate >= 0.8);
  CHECK(double(std::max(counts[3], counts[17])) < 0.8 * double(all));  // one would not do
  CHECK(seen.frequencies[0] == Approx(double(counts[3]) / double(rows)));
  CHECK(seen.frequencies[1] == Approx(double(counts[17]) / double(rows)));

  OutlierCounter wide(columns, 100.0f);
  wide.add(Eigen::Map<const OutlierCounter::Rows>(x.data(), rows, columns));
  CHECK(wide.finish().hot_channels.empty());
  CHECK(wide.finish().hit_rate == 0.0);
}

TEST_CASE("the reference's w8a8 linear equals plain integers bit for bit") {
  for (const int64_t columns : {1, 16, 172, 1024, 2500}) {
    const int64_t rows = 300, count = 5;
    const Product product = some_product(rows, columns, uint32_t(columns));
    std::vector<float> x = gaussian(count * columns, 9, 0.9f);  // some leave the codes
    x[0] = std::numeric_limits<float>::quiet_NaN();
    if (columns > 1) x[1] = product.act_scale * 2.5f;  // half way between two codes
    if (columns > 2) x[2] = -1e30f;
    const std::vector<float> bias = gaussian(rows, 10), residual = gaussian(count * rows, 11);
    const std::vector<float> y = run(product, x, false, bias, residual);
    REQUIRE(y.size() == size_t(count * rows));
    x[0] = 0.0f;  // what a NaN counts as
    for (int64_t i = 0; i < count * rows; ++i) {
      const int64_t n = i % rows, first = i / rows * columns;
      float expected = test::slow_w8a8_output({x.begin() + first, x.begin() + first + columns},
                                              product.act_scale, product.row(n),
                                              product.scales[size_t(n)]);
      expected += bias[size_t(n)];
      expected += residual[size_t(i)];
      REQUIRE(std::bit_cast<uint32_t>(y[size_t(i)]) == std::bit_cast<uint32_t>(expected));
    }
  }
}

TEST_CASE("sums are exact where every product is the largest") {
  Product product;
  product.columns = 5000;
  product.act_scale = 1.0f;
  product.codes.assign(2 * 5000, 127);
  std::fill(product.codes.begin(), product.codes.begin() + 5000, -127);
  product.scales = {1.0f, 1.0f};
  const std::vector<float> y = run(product, std::vector<float>(5000, -300.0f), false);
  CHECK(y[0] == 128.0f * 127.0f * 5000.0f);
  CHECK(y[1] == -128.0f * 127.0f * 5000.0f);
}

TEST_CASE("gate and up projection have their own scales and one input") {
  const int64_t rows = 80, columns = 96, count = 3;
  const Product product = some_product(2 * rows, columns, 21);
  const std::vector<float> x = gaussian(count * columns, 22, 0.6f);
  const std::vector<float> y = run(product, x, true);
  for (int64_t i = 0; i < count * rows; ++i) {
    const int64_t n = i % rows, first = i / rows * columns;
    const auto output = [&](int64_t row) {
      return test::slow_w8a8_output({x.begin() + first, x.begin() + first + columns},
                                    product.act_scale, product.row(row),
                                    product.scales[size_t(row)]);
    };
    const float expected = std::fmax(output(n), 0.0f) * output(rows + n);
    REQUIRE(y[size_t(i)] == expected);
  }
}

TEST_CASE("main and shadow path are the product without limits; the paper's equation (1) is not") {
  const int64_t rows = 40, columns = 200, count = 4;
  Product product = some_product(rows, columns, 31);
  product.shadow = true;
  std::vector<float> x = gaussian(count * columns, 32, 0.5f);
  for (int64_t row = 0; row < count; ++row) {
    for (const int64_t k : {5, 77, 150}) x[size_t(row * columns + k)] *= 40.0f;
  }
  x[5] = 200.0f * product.act_scale;  // 200 steps
  x[6] = -3.0f * product.act_scale;
  const std::vector<float> y = run(product, x, false);
  Product without = product;
  without.shadow = false;
  const std::vector<float> clipped = run(without, x, false);
  double shadow = 0, printed = 0, cut = 0, norm = 0;
  for (int64_t i = 0; i < count * rows; ++i) {
    const int64_t n = i % rows, first = i / rows * columns;
    const std::vector<float> line(x.begin() + first, x.begin() + first + columns);
    const auto by = [&](auto function) {
      return function(line, product.act_scale, product.row(n), product.scales[size_t(n)]);
    };
    const double unclipped = by(test::slow_unclipped);
    shadow += std::pow(double(y[size_t(i)]) - unclipped, 2);
    cut += std::pow(double(clipped[size_t(i)]) - unclipped, 2);
    printed += std::pow(by(test::slow_equation_1) - unclipped, 2);
    norm += unclipped * unclipped;
  }
  CHECK(std::sqrt(shadow / norm) < 1e-6);
  CHECK(std::sqrt(cut / norm) > 0.3);
  CHECK_FALSE(std::sqrt(printed / norm) < 1e-6);
  CHECK(std::sqrt(printed / norm) > 0.3);
  // 200 steps become 256 and -3 become -131.
  CHECK(test::slow_equation_1({200.0f}, 1.0f, {1}, 1.0f) == 256.0);
  CHECK(test::slow_equation_1({-3.0f}, 1.0f, {1}, 1.0f) == -131.0);
}
