#include "runtime/text/sampler.h"

#include <cmath>
#include <limits>
#include <map>
#include <vector>

#include "runtime/base/error.h"
#include "runtime/text/philox.h"
#include "test/text/test_support.h"

using namespace pocket;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
const float kNan = std::nanf("");

// Random123 kat_vectors: philox4x32 10 rounds.
static_assert(philox4x32_10({0, 0, 0, 0}, {0, 0}) ==
              PhiloxCounter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
static_assert(philox4x32_10({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
                            {0xffffffff, 0xffffffff}) ==
              PhiloxCounter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
static_assert(philox4x32_10({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
                            {0xa4093822, 0x299f31d0}) ==
              PhiloxCounter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});

std::map<int32_t, int> draws_of(const std::vector<float>& logits, const SamplerSettings& settings,
                                uint64_t count) {
  std::map<int32_t, int> out;
  for (uint64_t position = 0; position < count; ++position) {
    ++out[sample(logits, settings, position)];
  }
  return out;
}

}  // namespace

TEST_CASE("Philox equals the published vectors at run time") {
  volatile uint32_t zero = 0;
  CHECK(philox4x32_10({zero, zero, zero, zero}, {zero, zero})[0] == 0x6627e8d5);
  CHECK(philox_uniform(0, 0) == static_cast<float>(0x6627e8) / 16777216.0f);
  for (uint64_t i = 0; i < 1000; ++i) {
    const float u = philox_uniform(~i, i << 40);
    CHECK((u >= 0 && u < 1));
  }
}

TEST_CASE("greedy takes the largest logit, the lowest id of equals, and never a NaN") {
  const SamplerSettings greedy;
  CHECK(sample(std::vector<float>{1, 3, 2, 3}, greedy, 0) == 1);
  CHECK(sample(std::vector<float>{kNan, -5, kNan, -5}, greedy, 9) == 1);
  CHECK(sample(std::vector<float>{kNan, kNan}, greedy, 0) == 0);
  CHECK(sample(std::vector<float>{-kInfinity, -kInfinity}, greedy, 0) == 0);
  CHECK(sample(std::vector<float>{-0.0f, 0.0f}, greedy, 0) == 0);
  CHECK(sample(std::vector<float>{1, kInfinity, kInfinity}, greedy, 0) == 1);
}

TEST_CASE("top-k keeps the k best, the lowest ids of equals") {
  const std::vector<float> logits = {1, 1, 1, 1, 0.5f};
  SamplerSettings settings{.temperature = 1, .top_k = 2, .top_p = 1, .seed = 7};
  const auto draws = draws_of(logits, settings, 500);
  CHECK(draws.size() == 2);
  CHECK(draws.count(0) == 1);
  CHECK(draws.count(1) == 1);
  settings.top_k = 1;
  CHECK(draws_of(logits, settings, 50).size() == 1);
  settings.top_k = 256;  // more than there are
  CHECK(draws_of(logits, settings, 2000).size() == 5);

  const std::vector<float> flat(300, 0.0f);
  settings.top_k = 0;  // 256
  const auto wide = draws_of(flat, settings, 1500);
  CHECK(wide.rbegin()->first > 240);
  CHECK(wide.rbegin()->first <= 255);
}

TEST_CASE("top-p keeps the smallest prefix that reaches it") {
  // Probabilities 0.5, 0.25, 0.125, 0.125, exact in float at temperature 1 up to exp's rounding.
  const std::vector<float> logits = {std::log(0.125f), std::log(0.5f), std::log(0.25f),
                                     std::log(0.125f)};
  const auto kept = [&](float top_p) {
    return draws_of(logits, {.temperature = 1, .top_k = 0, .top_p = top_p, .seed = 3}, 400).size();
  };
  CHECK(kept(1e-6f) == 1);
  CHECK(kept(0.45f) == 1);
  CHECK(kept(0.55f) == 2);
  CHECK(kept(0.8f) == 3);
  CHECK(kept(0.95f) == 4);
  CHECK(kept(1) == 4);
}

TEST_CASE("what is not a number or infinite is never drawn") {
  const std::vector<float> logits = {kNan, 0, -kInfinity, 0};
  for (const auto& [id, count] : draws_of(logits, {.temperature = 1}, 300)) {
    CHECK((id == 1 || id == 3));
  }
  CHECK(sample(std::vector<float>{kNan, kNan}, {.temperature = 1}, 5) == 0);
  for (const auto& [id, count] : draws_of({kInfinity, 1, kInfinity}, {.temperature = 1}, 100)) {
    CHECK(id != 1);
  }
  // Far apart: everything but the best underflows.
  CHECK(draws_of({0, 1e30f, -1e30f}, {.temperature = 1e-30f}, 100).size() == 1);
}

TEST_CASE("draws follow the probabilities: chi-square over 20,000 positions") {
  const std::vector<float> logits = {0.0f, 1.5f, -1.0f, 0.7f, 2.0f, -0.3f, 1.0f, 0.2f};
  const float temperature = 0.8f;
  double total = 0;
  std::vector<double> p;
  for (const float logit : logits) {
    p.push_back(std::exp(static_cast<double>(logit) / static_cast<double>(temperature)));
    total += p.back();
  }
  for (const uint64_t seed : {uint64_t{0}, uint64_t{42}, uint64_t{0xFFFFFFFF00000001}}) {
    constexpr int kDraws = 20000;
    auto draws = draws_of(logits, {.temperature = temperature, .seed = seed}, kDraws);
    double chi2 = 0;
    for (size_t i = 0; i < p.size(); ++i) {
      const double expected = kDraws * p[i] / total;
      const double difference = draws[static_cast<int32_t>(i)] - expected;
      chi2 += difference * difference / expected;
    }
    INFO("seed " << seed);
    CHECK(chi2 < 24.3);  // 7 degrees of freedom, p = 0.001
  }
}

TEST_CASE("a draw depends on seed and position only") {
  std::vector<float> logits(300);
  for (size_t i = 0; i < logits.size(); ++i) logits[i] = static_cast<float>(i * 37 % 101) * 0.05f;
  const SamplerSettings settings{.temperature = 1.2f, .top_k = 100, .top_p = 0.9f, .seed = 11};
  int equal = 0;
  for (uint64_t position = 0; position < 200; ++position) {
    CHECK(sample(logits, settings, position) == sample(logits, settings, position));
    SamplerSettings other = settings;
    other.seed = uint64_t{11} << 32;
    equal += sample(logits, settings, position) == sample(logits, other, position);
  }
  CHECK(equal < 50);
}

TEST_CASE("settings out of range are refused") {
  const std::vector<float> logits = {0, 1};
  const auto refused = [&](const SamplerSettings& settings) {
    CHECK_THROWS_AS(sample(logits, settings, 0), Error);
  };
  refused({.temperature = -1});
  refused({.temperature = kNan});
  refused({.temperature = kInfinity});
  refused({.top_k = -1});
  refused({.top_k = 257});
  refused({.top_p = 0});
  refused({.top_p = 1.5f});
  refused({.top_p = kNan});
  CHECK_THROWS_AS(sample({}, {}, 0), Error);
}
