#include "converter/quant/m0e4.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <random>

#include "converter/quant/clip_search.h"
#include "runtime/package/weight.h"
#include "test/quant/slow_twin.h"
#include "test/support/catch.h"

using namespace pocket;

TEST_CASE("the sixteen codes decode bit by bit") {
  // S = 2, B = -3: exact in fp16, and every value is exact in float.
  const uint32_t pair = float_to_half(2.0f) | uint32_t{float_to_half(-3.0f)} << 16;
  for (uint8_t code = 0; code < 16; ++code) {
    const float y = half_to_float(uint16_t(0x3C00 | code << 6));
    CHECK(std::bit_cast<uint32_t>(y) == std::bit_cast<uint32_t>(1.0f + float(code) / 16));
    const float expected = float(code) / 8 - 1.0f;
    CHECK(std::bit_cast<uint32_t>(M0e4::decode(code, pair)) == std::bit_cast<uint32_t>(expected));
    uint8_t back = 99;
    M0e4::encode(&expected, 1, pair, &back);
    CHECK(back == code);
  }
}

TEST_CASE("the ends of a range are codes 0 and 15 up to the rounding of S and B") {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  for (int round = 0; round < 2000; ++round) {
    const float a = normal(random), b = normal(random);
    const float low = std::fmin(a, b), high = std::fmax(a, b);
    uint32_t pair = 0;
    REQUIRE(M0e4::pair_for(low, high, &pair));
    // fp16 keeps 11 bits: S and B each move by at most half a unit of the last place.
    const float scale = half_to_float(uint16_t(pair)), bias = half_to_float(uint16_t(pair >> 16));
    const float slack = (2 * scale + std::fabs(bias)) * 0x1p-11f + 1e-7f;
    CHECK(std::fabs(M0e4::decode(0, pair) - low) <= slack);
    CHECK(std::fabs(M0e4::decode(15, pair) - high) <= slack);
  }
}

TEST_CASE("no other code is nearer") {
  std::mt19937 random(2);
  std::normal_distribution<float> normal(0.1f, 1.0f);
  for (int round = 0; round < 500; ++round) {
    uint32_t pair = 0;
    REQUIRE(M0e4::pair_for(-1.5f, float(random() % 100) / 50.0f, &pair));
    const float x = normal(random);
    uint8_t code = 0;
    M0e4::encode(&x, 1, pair, &code);
    const float error = std::fabs(M0e4::decode(code, pair) - x);
    for (uint8_t other = 0; other < 16; ++other) {
      CHECK(error <= std::fabs(M0e4::decode(other, pair) - x) + 1e-6f);
    }
  }
}

TEST_CASE("an integer quantisation maps to this grid with unchanged codes") {
  std::mt19937 random(3);
  for (int round = 0; round < 16000; ++round) {
    const double s = std::ldexp(double(1 + random() % 2047), -int(random() % 20));
    const double z = double(random() % 16), q = double(random() % 16);
    const ScaleBias mapped = m0e4_from_integer(s, z);
    REQUIRE(mapped.scale * (1 + q / 16) + mapped.bias == s * (q - z));
  }
}

TEST_CASE("a searched group loses to int4 by no more than the rounding of its bias") {
  std::mt19937 random(4);
  std::normal_distribution<float> normal(0.0f, 0.05f);
  int zero_on_grid = 0;
  for (int round = 0; round < 400; ++round) {
    // A trained matrix has many weights near zero: there a grid that misses it loses to int4.
    std::vector<float> x(32 + random() % 97);
    for (float& value : x) value = random() % 3 == 0 ? normal(random) : 0.02f * normal(random);
    const test::SlowGroup int4 = test::slow_rtn(false, x);
    const auto count = int64_t(x.size());
    std::vector<uint8_t> codes(x.size());
    uint32_t pair = 0;
    const double loss = clip_search(Encoding::m0e4, "w", x.data(), count, {}, codes.data(), &pair);
    const double step = double(half_to_float(int4.scale));
    REQUIRE(std::sqrt(loss) <=
            std::sqrt(int4.squared_error) + 0.016 * step * std::sqrt(double(count)));
    // Without a search, the same over the whole range.
    const auto [low, high] = std::minmax_element(x.begin(), x.end());
    const test::SlowGroup whole = test::slow_round(true, x, *low, *high).value();
    uint32_t plain = 0;
    REQUIRE(round_group(Encoding::m0e4, x.data(), count, codes.data(), &plain));
    REQUIRE(plain == whole.pair());
    REQUIRE(std::equal(codes.begin(), codes.end(), whole.codes.begin()));
    float nearest = 1.0f;
    for (uint8_t code = 0; code < 16; ++code) {
      nearest = std::fmin(nearest, std::fabs(M0e4::decode(code, pair)));
    }
    zero_on_grid += nearest <= 0.016f * half_to_float(uint16_t(pair)) / 16.0f;
  }
  CHECK(zero_on_grid > 40);
}

TEST_CASE("constant, tiny and huge groups") {
  uint32_t pair = 0;
  REQUIRE(M0e4::pair_for(0.7f, 0.7f, &pair));
  const float constant[] = {0.7f, 0.7f};
  uint8_t codes[2] = {9, 9};
  M0e4::encode(constant, 2, pair, codes);
  CHECK(M0e4::decode(codes[0], pair) == Approx(0.7f).epsilon(5e-4));
  REQUIRE(M0e4::pair_for(0.0f, 0.0f, &pair));
  M0e4::encode(constant, 2, pair, codes);
  CHECK(M0e4::decode(0, pair) == 0.0f);
  CHECK_FALSE(M0e4::pair_for(-50000.0f, 50000.0f, &pair));
  CHECK_FALSE(M0e4::pair_for(1e30f, 1e30f, &pair));
  CHECK(M0e4::pair_for(-20000.0f, 20000.0f, &pair));
}
