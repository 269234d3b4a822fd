#include "converter/quant/int4.h"

#include <cmath>
#include <random>

#include "runtime/package/weight.h"
#include "test/support/catch.h"

using namespace pocket;

TEST_CASE("int4 holds zero exactly and an integer zero point") {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  for (int round = 0; round < 2000; ++round) {
    const float a = normal(random), b = normal(random);
    uint32_t pair = 0;
    REQUIRE(Int4::pair_for(std::fmin(a, b), std::fmax(a, b), &pair));
    const float zero = half_to_float(uint16_t(pair >> 16));
    CHECK(zero == std::floor(zero));
    CHECK(zero >= 0);
    CHECK(zero <= 15);
    const float nothing = 0;
    uint8_t code = 99;
    Int4::encode(&nothing, 1, pair, &code);
    CHECK(Int4::decode(code, pair) == 0.0f);
  }
}

TEST_CASE("the sixteen int4 codes decode bit by bit") {
  const uint32_t pair = float_to_half(0.25f) | uint32_t{float_to_half(6)} << 16;
  for (uint8_t code = 0; code < 16; ++code) {
    const float expected = 0.25f * (float(code) - 6);
    CHECK(Int4::decode(code, pair) == expected);
    uint8_t back = 99;
    Int4::encode(&expected, 1, pair, &back);
    CHECK(back == code);
  }
}

TEST_CASE("int4 groups of one sign, constant, and too large") {
  uint32_t pair = 0;
  REQUIRE(Int4::pair_for(2.0f, 3.0f, &pair));
  CHECK(half_to_float(uint16_t(pair >> 16)) == 0);
  CHECK(Int4::decode(15, pair) == Approx(3.0f).epsilon(1e-3));
  REQUIRE(Int4::pair_for(-3.0f, -2.0f, &pair));
  CHECK(half_to_float(uint16_t(pair >> 16)) == 15);
  REQUIRE(Int4::pair_for(0.0f, 0.0f, &pair));
  CHECK(Int4::decode(7, pair) == 0.0f);
  CHECK_FALSE(Int4::pair_for(-1e6f, 1e6f, &pair));
}
