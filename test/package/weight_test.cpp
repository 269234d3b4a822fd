#include "runtime/package/weight.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "runtime/base/error.h"
#include "runtime/package/w8a8.h"
#include "test/support/catch.h"

using namespace pocket;

namespace {

// The layout as weight.h writes it, weight by weight: where is weight (n, k)?
struct Place {
  size_t byte;
  int shift;  // of a 4-bit code in the u32 at `byte`
};
Place place_of(const WeightFormat& f, int64_t n, int64_t k) {
  const int64_t unit = f.encoding == Encoding::f32 ? 4 : f.encoding == Encoding::f16 ? 8 : 32;
  const int64_t units = f.padded_columns() / unit;
  const int64_t block = n / 32, in_block = std::min<int64_t>(32, f.rows - block * 32);
  const int64_t start = block * 32 * units * 16;
  const int64_t base = start + (k / unit * in_block + n % 32) * 16;
  if (f.encoding == Encoding::f32) return {size_t(base + k % 4 * 4), 0};
  if (f.encoding == Encoding::f16) return {size_t(base + k % 8 * 2), 0};
  const int64_t within = k % 32;
  return {size_t(base + within / 8 * 4), int(within % 8 / 2 * 4 + within % 2 * 16)};
}

}  // namespace

TEST_CASE("half precision converts both ways") {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = uint16_t(bits);
    const float wide = half_to_float(half);
    if (std::isnan(wide)) {
      CHECK(std::isnan(half_to_float(float_to_half(wide))));
      continue;
    }
    if (float_to_half(wide) != half) FAIL("half " << bits);
    // Every float between two halves rounds to the nearer, ties to the even one.
    const uint16_t next = uint16_t(half + 1);
    if ((half & 0x7FFF) >= 0x7BFF) continue;
    const float middle = (wide + half_to_float(next)) / 2;
    const uint16_t tie = (half & 1) ? next : half;
    if (float_to_half(middle) != tie) FAIL("tie above half " << bits);
    if (float_to_half(std::nextafter(middle, wide)) != half) FAIL("below the tie " << bits);
    if (float_to_half(std::nextafter(middle, half_to_float(next))) != next) FAIL("above " << bits);
  }
  CHECK(float_to_half(65519.0f) == 0x7BFF);
  CHECK(float_to_half(65520.0f) == 0x7C00);
  CHECK(float_to_half(-1e9f) == 0xFC00);
}

TEST_CASE("sizes are exact, short last groups included") {
  const WeightFormat m{Encoding::m0e4, 105, 40, 32};
  CHECK(m.padded_columns() == 64);
  CHECK(m.groups() == 2);
  CHECK(m.code_bytes() == 105 * 32);
  CHECK(m.pair_bytes() == 105 * 2 * 4);
  const WeightFormat wide{Encoding::int4, 33, 130, 128};
  CHECK(wide.padded_columns() == 256);
  CHECK(wide.code_bytes() == 33 * 128);
  CHECK(wide.pair_bytes() == 33 * 2 * 4);
  // Groups of 16: whole units of 32, two pairs each.
  const WeightFormat fine{Encoding::m0e4, 33, 40, 16};
  CHECK(fine.padded_columns() == 64);
  CHECK(fine.groups() == 4);
  CHECK(fine.code_bytes() == 33 * 32);
  CHECK(fine.pair_bytes() == 33 * 4 * 4);
  CHECK(WeightFormat{Encoding::int4, 1, 1, 16}.groups() == 2);
  CHECK(WeightFormat{Encoding::f16, 3, 41, 0}.code_bytes() == 3 * 48 * 2);
  CHECK(WeightFormat{Encoding::f32, 1, 5, 0}.code_bytes() == 32);
  CHECK(WeightFormat{Encoding::f16, 3, 41, 0}.pair_bytes() == 0);
}

TEST_CASE("formats out of range are refused by name") {
  for (const int64_t good : {16, 32, 64, 96, 256}) {
    CHECK_NOTHROW(check_format({Encoding::int4, 4, 40, good}, "some.weight"));
  }
  for (const WeightFormat& bad :
       {WeightFormat{Encoding::m0e4, 4, 40, 0}, WeightFormat{Encoding::m0e4, 4, 40, 48},
        WeightFormat{Encoding::m0e4, 4, 40, 8}, WeightFormat{Encoding::m0e4, 4, 40, 17},
        WeightFormat{Encoding::int4, 4, 40, 288}, WeightFormat{Encoding::f16, 4, 40, 32},
        WeightFormat{Encoding::f16, 0, 40, 0}, WeightFormat{Encoding::f16, 4, -1, 0},
        WeightFormat{Encoding::f16, int64_t{1} << 40, 8, 0}, WeightFormat{Encoding::w8a8, 4, 40, 32},
        WeightFormat{Encoding::w8a8, 4, kMostW8a8Columns + 1, 0}}) {
    CHECK_THROWS_WITH(check_format(bad, "some.weight"), Catch::Contains("'some.weight'"));
  }
}

TEST_CASE("floats lie where the layout says and come back") {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  for (const Encoding encoding : {Encoding::f32, Encoding::f16}) {
    for (const int64_t rows : {1, 31, 32, 33, 105}) {
      for (const int64_t columns : {1, 7, 8, 40, 41}) {
        const WeightFormat format{encoding, rows, columns, 0};
        std::vector<float> values(size_t(rows * columns));
        for (float& v : values) v = half_to_float(float_to_half(normal(random)));
        const auto packed = pack_float(format, values.data());
        REQUIRE(packed.size() == format.code_bytes());
        std::vector<bool> used(packed.size(), false);
        std::vector<float> out(static_cast<size_t>(columns));
        for (int64_t n = 0; n < rows; ++n) {
          unpack_row(format, packed.data(), nullptr, n, out.data());
          for (int64_t k = 0; k < columns; ++k) {
            const float expected = values[size_t(n * columns + k)];
            REQUIRE(out[size_t(k)] == expected);
            const size_t at = place_of(format, n, k).byte;
            const size_t bytes = encoding == Encoding::f32 ? 4 : 2;
            uint32_t bits = 0, wanted = 0;
            std::memcpy(&bits, packed.data() + at, bytes);
            const uint16_t half = float_to_half(expected);
            std::memcpy(&wanted,
                        encoding == Encoding::f32 ? static_cast<const void*>(&expected) : &half,
                        bytes);
            REQUIRE(bits == wanted);
            for (size_t b = 0; b < bytes; ++b) used[at + b] = true;
          }
        }
        for (size_t i = 0; i < packed.size(); ++i) {
          if (!used[i]) REQUIRE(packed[i] == 0);  // padding is zero
        }
      }
    }
  }
}

TEST_CASE("codes and pairs lie where the layout says and decode") {
  std::mt19937 random(4);
  for (const Encoding encoding : {Encoding::int4, Encoding::m0e4}) {
    for (const int64_t rows : {1, 32, 33, 70}) {
      using Shape = std::pair<int64_t, int64_t>;
      for (const auto& [columns, group] :
           {Shape{1, 32}, Shape{32, 32}, Shape{40, 32}, Shape{200, 128}, Shape{1, 16},
            Shape{32, 16}, Shape{40, 16}, Shape{200, 16}}) {
        const WeightFormat format{encoding, rows, columns, group};
        const int64_t padded = format.padded_columns(), groups = format.groups();
        std::vector<uint8_t> codes(size_t(rows * padded));
        std::vector<uint32_t> pairs(size_t(rows * groups));
        for (uint8_t& code : codes) code = uint8_t(random() % 16);
        for (uint32_t& pair : pairs) {
          pair = float_to_half(float(random() % 100) / 64.0f) |
                 uint32_t{float_to_half(float(random() % 16))} << 16;
        }
        const auto packed = pack_codes(format, codes.data());
        const auto scales = pack_pairs(format, pairs.data());
        REQUIRE(packed.size() == format.code_bytes());
        REQUIRE(scales.size() == format.pair_bytes());
        std::vector<float> out(static_cast<size_t>(columns));
        for (int64_t n = 0; n < rows; ++n) {
          unpack_row(format, packed.data(), scales.data(), n, out.data());
          for (int64_t k = 0; k < padded; ++k) {
            const Place at = place_of(format, n, k);
            uint32_t word = 0, pair = 0;
            std::memcpy(&word, packed.data() + at.byte, 4);
            const uint8_t code = codes[size_t(n * padded + k)];
            REQUIRE(((word >> at.shift) & 15) == code);
            const int64_t in_block = std::min<int64_t>(32, rows - n / 32 * 32),
                          g = k / format.group;
            std::memcpy(
                &pair, scales.data() + 32 * (n / 32) * groups * 4 + (g * in_block + n % 32) * 4, 4);
            REQUIRE(pair == pairs[size_t(n * groups + g)]);
            if (k >= columns) continue;
            const float s = half_to_float(uint16_t(pair)), b = half_to_float(uint16_t(pair >> 16));
            const float expected =
                encoding == Encoding::m0e4 ? s * (1 + float(code) / 16) + b : s * (float(code) - b);
            REQUIRE(out[size_t(k)] == expected);
          }
        }
      }
    }
  }
}

TEST_CASE("8-bit codes lie 16 columns a unit, with scale and sum by row, and decode") {
  std::mt19937 random(5);
  for (const int64_t rows : {1, 32, 33, 70}) {
    for (const int64_t columns : {1, 15, 16, 17, 100}) {
      const WeightFormat format{Encoding::w8a8, rows, columns, 0};
      const int64_t units = (columns + 15) / 16;
      CHECK(format.padded_columns() == 16 * units);
      CHECK(format.code_row_bytes() == uint64_t(16 * units));
      CHECK(format.stored_bytes() == uint64_t(rows * (16 * units + 8)));
      std::vector<int8_t> codes(size_t(rows * columns));
      std::vector<float> scales(static_cast<size_t>(rows));
      for (int8_t& code : codes) code = int8_t(int(random() % 255) - 127);
      for (float& scale : scales) scale = float(1 + random() % 100) / 64.0f;
      const auto packed = pack_w8a8_codes(format, codes.data());
      const auto pairs = pack_w8a8_scales(format, scales.data(), codes.data());
      REQUIRE(packed.size() == format.code_bytes());
      REQUIRE(pairs.size() == format.pair_bytes());
      std::vector<float> out(static_cast<size_t>(columns));
      for (int64_t n = 0; n < rows; ++n) {
        unpack_row(format, packed.data(), pairs.data(), n, out.data());
        int32_t sum = 0, stored = 0;
        float scale = 0;
        for (int64_t k = 0; k < 16 * units; ++k) {
          const int64_t in_block = std::min<int64_t>(32, rows - n / 32 * 32);
          const int64_t at = 32 * (n / 32) * 16 * units + (k / 16 * in_block + n % 32) * 16 + k % 16;
          const int8_t code = k < columns ? codes[size_t(n * columns + k)] : int8_t{0};
          REQUIRE(int8_t(packed[size_t(at)]) == code);
          sum += code;
          if (k < columns) REQUIRE(out[size_t(k)] == float(code) * scales[size_t(n)]);
        }
        std::memcpy(&scale, pairs.data() + 8 * n, 4);
        std::memcpy(&stored, pairs.data() + 8 * n + 4, 4);
        REQUIRE(scale == scales[size_t(n)]);
        REQUIRE(stored == sum);
      }
    }
  }
}

TEST_CASE("activations round half to even into 8 bits, and results multiply scales first") {
  const float inverse = 1.0f / 0.25f;
  CHECK(w8a8_quantise(0.125f, inverse) == 0);  // 0.5
  CHECK(w8a8_quantise(0.375f, inverse) == 2);  // 1.5
  CHECK(w8a8_quantise(-0.625f, inverse) == -2);  // -2.5
  CHECK(w8a8_quantise(31.75f, inverse) == 127);
  CHECK(w8a8_quantise(1e30f, inverse) == 127);
  CHECK(w8a8_quantise(-32.0f, inverse) == -128);
  CHECK(w8a8_quantise(-std::numeric_limits<float>::infinity(), inverse) == -128);
  CHECK(w8a8_quantise(std::numeric_limits<float>::quiet_NaN(), inverse) == 0);
  CHECK(w8a8_rounded(100.0f, inverse) == 400.0f);
  // 16777217 is no float: the sum rounds before the scales are applied.
  CHECK(w8a8_result(16777217, 0.5f, 0.25f) == 2097152.0f);
  CHECK(w8a8_result(3, 0.1f, 0.3f) == 3.0f * (0.1f * 0.3f));
  CHECK(int64_t{128} * 127 * kMostW8a8Columns < int64_t{1} << 31);
  CHECK(int64_t{128} * 127 * (kMostW8a8Columns + 1) >= int64_t{1} << 31);
  CHECK(is_act_scale(kLeastActScale));
  CHECK(is_act_scale(kMostActScale));
  for (const float bad : {0.0f, -1.0f, 1e-39f, std::numeric_limits<float>::infinity(),
                          std::numeric_limits<float>::quiet_NaN()}) {
    CHECK_FALSE(is_act_scale(bad));
  }
}

TEST_CASE("a word gives its codes as fp16 by and + or, in column order") {
  // weight.h: (w << 6) & 0x03C003C0 | 0x3C003C00 and its three siblings.
  const WeightFormat format{Encoding::m0e4, 1, 32, 32};
  std::vector<uint8_t> codes(32);
  for (size_t i = 0; i < 32; ++i) codes[i] = uint8_t(i % 16);
  const auto packed = pack_codes(format, codes.data());
  for (size_t j = 0; j < 4; ++j) {
    uint32_t w = 0;
    std::memcpy(&w, packed.data() + j * 4, 4);
    const uint32_t shifted[] = {w << 6, w << 2, w >> 2, w >> 6};
    for (size_t i = 0; i < 4; ++i) {
      const uint32_t h2 = (shifted[i] & 0x03C003C0u) | 0x3C003C00u;
      CHECK(half_to_float(uint16_t(h2)) == 1.0f + float(codes[8 * j + 2 * i]) / 16.0f);
      CHECK(half_to_float(uint16_t(h2 >> 16)) == 1.0f + float(codes[8 * j + 2 * i + 1]) / 16.0f);
    }
  }
}
