#include "converter/quant/encode.h"

#include <cmath>
#include <limits>
#include <mutex>

#include "runtime/base/error.h"
#include "test/quant/gaussian.h"
#include "test/quant/slow_twin.h"
#include "test/support/catch.h"

using namespace pocket;
using test::gaussian;

namespace {

struct Encoded {
  std::vector<uint8_t> codes, pairs;
  QuantError error;
};

Encoded encode(const WeightFormat& format, const std::vector<float>& values, int threads = 2) {
  Encoded out;
  out.error = encode_weight(
      "layer.weight", format,
      [&](int64_t first, int64_t count, float* to) {
        std::copy_n(values.begin() + first * format.columns, count * format.columns, to);
      },
      [&](SectionRole role, std::span<const uint8_t> bytes) {
        auto& into = role == SectionRole::codes ? out.codes : out.pairs;
        into.insert(into.end(), bytes.begin(), bytes.end());
      },
      threads);
  return out;
}

}  // namespace

TEST_CASE("round to nearest equals its slow twin, short last groups included") {
  for (const Encoding encoding : {Encoding::m0e4, Encoding::int4}) {
    for (const int64_t group : {16, 32, 64, 128, 256}) {
      for (const int64_t columns : {1, 31, 40, 128, 200}) {
        const int64_t rows = 37;
        const WeightFormat format{encoding, rows, columns, group};
        std::vector<float> values = gaussian(rows * columns, uint32_t(group + columns));
        for (size_t i = 0; i < values.size(); i += 7) values[i] *= 8;  // outliers: clipping pays
        std::fill_n(values.begin(), columns, 0.25f);                   // a constant row
        std::fill_n(values.begin() + columns, columns, 0.0f);          // a row of zeros
        for (int64_t k = 0; k < columns; ++k) values[size_t(2 * columns + k)] *= 1e-7f;  // tiny
        std::vector<uint8_t> codes(size_t(rows * format.padded_columns()), 77);
        std::vector<uint32_t> pairs(size_t(rows * format.groups()), 77);
        const QuantError error = rtn(format, "w", values.data(), codes.data(), pairs.data());
        double expected_error = 0;
        for (int64_t row = 0; row < rows; ++row) {
          for (int64_t g = 0; g < format.groups(); ++g) {
            const int64_t first = g * group, count = std::min(group, columns - first);
            if (count <= 0) {  // behind an odd number of groups of 16
              REQUIRE(pairs[size_t(row * format.groups() + g)] == 0);
              continue;
            }
            const float* begin = values.data() + row * columns + first;
            const test::SlowGroup slow =
                test::slow_rtn(encoding == Encoding::m0e4, {begin, begin + count});
            REQUIRE(pairs[size_t(row * format.groups() + g)] == slow.pair());
            const uint8_t* out = codes.data() + row * format.padded_columns() + first;
            for (int64_t k = 0; k < count; ++k) REQUIRE(int(out[k]) == slow.codes[size_t(k)]);
            expected_error += slow.squared_error;
          }
        }
        for (int64_t row = 0; row < rows; ++row) {
          for (int64_t k = columns; k < format.padded_columns(); ++k) {
            REQUIRE(codes[size_t(row * format.padded_columns() + k)] == 0);
          }
        }
        CHECK(error.squared_error == Approx(expected_error));
      }
    }
  }
}

TEST_CASE("m0e4 is nearer than int4 on Gaussian weights at every group size") {
  const int64_t rows = 256, columns = 512;
  const std::vector<float> values = gaussian(rows * columns, 9);
  for (const int64_t group : {32, 64, 128}) {
    const Encoded m0e4 = encode({Encoding::m0e4, rows, columns, group}, values);
    const Encoded int4 = encode({Encoding::int4, rows, columns, group}, values);
    INFO("group " << group << ": m0e4 " << m0e4.error.squared_error / m0e4.error.squared_norm
                  << ", int4 " << int4.error.squared_error / int4.error.squared_norm);
    CHECK(m0e4.error.squared_error < int4.error.squared_error);
    // papers.md 1.2 measures 0.0060, 0.0082 and 0.0098 without the clip search.
    CHECK(m0e4.error.squared_error / m0e4.error.squared_norm < (group == 32   ? 0.0061
                                                                : group == 64 ? 0.0083
                                                                              : 0.0099));
  }
}

TEST_CASE("the clip search never loses to the plain range") {
  const std::vector<float> values = gaussian(64, 4);
  for (const bool m0e4 : {true, false}) {
    float low = values[0], high = values[0];
    for (const float v : values) {
      low = std::fmin(low, v);
      high = std::fmax(high, v);
    }
    const auto plain = test::slow_round(m0e4, values, low, high);
    const WeightFormat format{m0e4 ? Encoding::m0e4 : Encoding::int4, 1, 64, 64};
    CHECK(encode(format, values).error.squared_error <= plain->squared_error);
  }
}

TEST_CASE("the bytes decode to what the error says, from any number of threads") {
  const int64_t rows = 2100, columns = 96;  // several tiles
  const std::vector<float> values = gaussian(rows * columns, 5);
  for (const Encoding encoding : {Encoding::f32, Encoding::f16, Encoding::int4, Encoding::m0e4}) {
    WeightFormat format{encoding, rows, columns, 0};
    if (format.four_bit()) format.group = 64;
    const Encoded one = encode(format, values, 1), three = encode(format, values, 3);
    CHECK(one.codes == three.codes);
    CHECK(one.pairs == three.pairs);
    REQUIRE(one.codes.size() == format.code_bytes());
    REQUIRE(one.pairs.size() == format.pair_bytes());
    double error = 0;
    std::vector<float> row(static_cast<size_t>(columns));
    for (int64_t n = 0; n < rows; ++n) {
      unpack_row(format, one.codes.data(), one.pairs.data(), n, row.data());
      for (int64_t k = 0; k < columns; ++k) {
        const double d = double(values[size_t(n * columns + k)]) - double(row[size_t(k)]);
        error += d * d;
      }
    }
    CHECK(one.error.squared_error == Approx(error));
    CHECK(three.error.squared_error == Approx(error));
    if (encoding == Encoding::f32) CHECK(error == 0);
  }
}

TEST_CASE("values that no encoding holds are refused with the tensor's name") {
  for (const float bad :
       {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
        std::numeric_limits<float>::quiet_NaN()}) {
    for (const Encoding encoding : {Encoding::f32, Encoding::f16, Encoding::int4, Encoding::m0e4}) {
      std::vector<float> values = gaussian(64 * 40, 6);
      values[1234] = bad;
      WeightFormat format{encoding, 64, 40, 0};
      if (format.four_bit()) format.group = 32;
      CHECK_THROWS_WITH(encode(format, values), Catch::Contains("'layer.weight'"));
    }
  }
  std::vector<float> values = gaussian(64, 7);
  values[3] = 70000.0f;
  CHECK_THROWS_WITH(encode({Encoding::f16, 1, 64, 0}, values), Catch::Contains("cannot represent"));
  values[4] = -70000.0f;
  CHECK_THROWS_WITH(encode({Encoding::m0e4, 1, 64, 32}, values), Catch::Contains("too large"));
  CHECK_NOTHROW(encode({Encoding::int4, 1, 64, 32}, values));  // a step of 9333 fits
}

TEST_CASE("an error of the reader reaches the caller") {
  const WeightFormat format{Encoding::f32, 5000, 300, 0};
  CHECK_THROWS_WITH(encode_weight(
                        "w", format,
                        [](int64_t first, int64_t, float*) {
                          if (first > 0) throw Error(ExitCode::bad_input, "the file ended");
                        },
                        [](SectionRole, std::span<const uint8_t>) {}, 2),
                    Catch::Contains("the file ended"));
}
