// The fast forms of the domain "pocket" against loops in double precision that follow its header.
#include "converter/reference/pocket_ops.h"

#include <cmath>
#include <random>

#include "converter/reference/executor.h"
#include "test/support/catch.h"

using namespace pocket;
using reference::HostTensor;

namespace {

using Attributes = std::map<std::string, ir::Attribute>;

HostTensor compute(const std::string& op, const std::vector<const HostTensor*>& inputs,
                   const Attributes& attributes) {
  ir::Node node;
  node.op = op;
  node.domain = "pocket";
  node.attributes = attributes;
  const reference::Call call{node, inputs, 18};
  return reference::standard_registry().find("pocket", op)(call).at(0);
}

HostTensor random_tensor(reference::Shape shape, uint32_t seed) {
  std::mt19937 draw(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(reference::element_count(shape)));
  for (float& value : values) value = normal(draw);
  return HostTensor::floats(std::move(shape), std::move(values));
}

struct Form {
  int64_t heads, kv_heads, tokens, past, window;
  double soft_cap;
  bool slopes;
};

constexpr int64_t kWidth = 12;
constexpr float kScale = 0.3f;

double wide(const HostTensor& x, int64_t at) {
  return static_cast<double>(x.f[static_cast<size_t>(at)]);
}

// Heads of rows [tokens, heads * width], states [kv_heads, past, width].
std::vector<double> slow_attention(const Form& form, const HostTensor& q, const HostTensor& k,
                                   const HostTensor& v, const HostTensor& past_k,
                                   const HostTensor& past_v, const HostTensor& slopes) {
  std::vector<double> out;
  for (int64_t t = 0; t < form.tokens; ++t) {
    for (int64_t h = 0; h < form.heads; ++h) {
      const int64_t kv = h * form.kv_heads / form.heads, position = form.past + t;
      const auto element = [&](const HostTensor& past, const HostTensor& rows, int64_t s, int64_t d) {
        return s < form.past ? wide(past, (kv * form.past + s) * kWidth + d)
                             : wide(rows, ((s - form.past) * form.kv_heads + kv) * kWidth + d);
      };
      double total = 0.0;
      std::vector<double> sums(kWidth);
      for (int64_t s = 0; s <= position; ++s) {
        if (form.window > 0 && position - s >= form.window) continue;
        double score = 0.0;
        for (int64_t d = 0; d < kWidth; ++d) {
          score += wide(q, (t * form.heads + h) * kWidth + d) * element(past_k, k, s, d);
        }
        score *= static_cast<double>(kScale);
        if (form.soft_cap > 0.0) score = form.soft_cap * std::tanh(score / form.soft_cap);
        if (form.slopes) score += wide(slopes, h) * static_cast<double>(s - position);
        const double weight = std::exp(score);
        total += weight;
        for (int64_t d = 0; d < kWidth; ++d) {
          sums[static_cast<size_t>(d)] += weight * element(past_v, v, s, d);
        }
      }
      for (const double sum : sums) out.push_back(sum / total);
    }
  }
  return out;
}

}  // namespace

TEST_CASE("Attention in tiles: shared heads, pasts, windows, caps and slopes as in plain loops") {
  for (const Form& form : {Form{1, 1, 1, 0, 0, 0.0, false}, Form{6, 2, 150, 0, 0, 0.0, false},
                           Form{6, 2, 150, 37, 0, 0.0, false}, Form{4, 1, 129, 5, 50, 0.0, false},
                           Form{2, 2, 70, 300, 64, 2.0, true}, Form{3, 3, 65, 0, 1, 0.0, true},
                           Form{4, 2, 1, 200, 100, 1.5, false}, Form{5, 5, 64, 64, 0, 0.0, true}}) {
    INFO(form.heads << " heads, " << form.tokens << " tokens behind " << form.past << ", window "
                    << form.window);
    const HostTensor q = random_tensor({1, form.tokens, form.heads * kWidth}, 1);
    const HostTensor k = random_tensor({1, form.tokens, form.kv_heads * kWidth}, 2);
    const HostTensor v = random_tensor({1, form.tokens, form.kv_heads * kWidth}, 3);
    const HostTensor past_k = random_tensor({1, form.kv_heads, form.past, kWidth}, 4);
    const HostTensor past_v = random_tensor({1, form.kv_heads, form.past, kWidth}, 5);
    HostTensor slopes = random_tensor({form.heads}, 6);
    for (float& slope : slopes.f) slope = std::fabs(slope);
    const HostTensor y =
        compute("Attention",
                {&q, &k, &v, &past_k, &past_v, nullptr, nullptr, form.slopes ? &slopes : nullptr},
                {{"heads", form.heads},
                 {"kv_heads", form.kv_heads},
                 {"head_dim", kWidth},
                 {"scale", kScale},
                 {"soft_cap", static_cast<float>(form.soft_cap)},
                 {"window", form.window}});
    const std::vector<double> expected = slow_attention(form, q, k, v, past_k, past_v, slopes);
    REQUIRE(y.f.size() == expected.size());
    double most = 0.0;
    for (size_t i = 0; i < expected.size(); ++i) {
      most = std::max(most, std::fabs(static_cast<double>(y.f[i]) - expected[i]));
    }
    CHECK(most < 1e-6);
  }
}

TEST_CASE("Linear reads parts as they lie: transposed, from a row on, times a factor") {
  const int64_t tokens = 5, columns = 40;
  const HostTensor x = random_tensor({1, tokens, columns}, 1), bias = random_tensor({24}, 2);
  const HostTensor first = random_tensor({30, columns}, 3);  // rows 7 .. 16
  const HostTensor second = random_tensor({columns, 20}, 4);  // columns 6 .. 19
  const HostTensor y = compute("Linear", {&x, &bias, nullptr, &first, &second},
                               {{"transposed", std::vector<int64_t>{0, 1}},
                                {"first_row", std::vector<int64_t>{7, 6}},
                                {"rows", std::vector<int64_t>{10, 14}},
                                {"factors", std::vector<float>{1.0f, 0.3f}}});
  REQUIRE(y.shape == reference::Shape{1, tokens, 24});
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t n = 0; n < 24; ++n) {
      double sum = 0.0;
      for (int64_t k = 0; k < columns; ++k) {
        const double weight = n < 10 ? wide(first, (7 + n) * columns + k)
                                     : 0.3 * wide(second, k * 20 + 6 + n - 10);
        sum += wide(x, t * columns + k) * weight;
      }
      CHECK(wide(y, t * 24 + n) == Approx(sum + wide(bias, n)).margin(1e-5));
    }
  }
}

TEST_CASE("activations are what their names say, far from zero too, wherever a value stands") {
  const auto sigmoid = [](double x) { return 1.0 / (1.0 + std::exp(-x)); };
  const std::map<std::string, std::function<double(double)>> functions = {
      {"none", [](double x) { return x; }},
      {"relu", [](double x) { return std::max(x, 0.0); }},
      {"relu_square", [](double x) { return x > 0.0 ? x * x : 0.0; }},
      {"sigmoid", sigmoid},
      {"tanh", [](double x) { return std::tanh(x); }},
      {"silu", [&](double x) { return x * sigmoid(x); }},
      {"quick_gelu", [&](double x) { return x * sigmoid(1.702 * x); }},
      {"gelu_erf", [](double x) { return x / 2 * (1.0 + std::erf(x / std::sqrt(2.0))); }},
      {"gelu_tanh", [](double x) {
         const double inner = std::sqrt(2.0 / 3.14159265358979323846) * (x + 0.044715 * x * x * x);
         return x / 2 * (1.0 + std::tanh(inner));
       }}};
  HostTensor x = HostTensor::floats({7}, {0.0f, -0.5f, 3.0f, -20.0f, 20.0f, -200.0f, 200.0f});
  for (int64_t i = 0; i < 2999; ++i) {  // more than a chunk, and one that is not full
    x.f.push_back(static_cast<float>(i % 1500 - 750) / 100.0f);
  }
  x.shape = {static_cast<int64_t>(x.f.size())};
  for (const auto& [name, function] : functions) {
    INFO(name);
    const HostTensor y = compute("Activation", {&x}, {{"function", name}});
    double most = 0.0;
    for (size_t i = 0; i < x.f.size(); ++i) {
      const double value = static_cast<double>(x.f[i]), expected = function(value);
      most = std::max(most, std::fabs(static_cast<double>(y.f[i]) - expected) / (1.0 + std::fabs(expected)));
    }
    CHECK(most < 1e-6);
    CHECK(y.f[8] == y.f[1508]);  // the same value in another chunk
  }
}

TEST_CASE("a cache of constants serves them until it is full") {
  const ir::TensorData data = ir::TensorData::from_floats({4}, {1, 2, 3, 4});
  reference::ConstantCache cache(20);
  const HostTensor* kept = cache.find(3, data);
  REQUIRE(kept != nullptr);
  CHECK(kept->f == std::vector<float>{1, 2, 3, 4});
  CHECK(cache.find(3, data) == kept);
  CHECK(cache.find(4, data) == nullptr);  // 16 of 20 bytes are taken
  CHECK(cache.find(5, ir::TensorData::from_floats({1}, {9})) != nullptr);
}
