#include "converter/quant/any_precision.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <map>

#include "runtime/base/error.h"
#include "test/quant/gaussian.h"
#include "test/quant/slow_any.h"
#include "test/support/catch.h"

using namespace pocket;
using test::gaussian;

namespace {

constexpr uint32_t kThree = 1u << 2 | 1u << 3 | 1u << 4;

WeightFormat format_of(int64_t rows, int64_t columns, uint32_t widths = kThree) {
  WeightFormat format{Encoding::any, rows, columns, 0, widths, 0};
  while (widths >> (format.width + 1) != 0) ++format.width;
  return format;
}

std::vector<float> squares(int64_t count, uint32_t seed) {
  std::vector<float> values = gaussian(count, seed);
  for (float& value : values) value *= value * 400.0f;
  return values;
}

struct Encoded {
  std::map<SectionKind, std::vector<uint8_t>> sections;
  QuantError error;
};

Encoded encode(const WeightFormat& format, const std::vector<float>& values,
               const std::vector<float>& sensitivity = {}, int threads = 2) {
  Encoded out;
  out.error = encode_any(
      "layer.weight", format,
      [&](int64_t first, int64_t count, float* to) {
        std::copy_n(values.begin() + first * format.columns, count * format.columns, to);
      },
      sensitivity,
      [&](SectionKind kind, std::span<const uint8_t> bytes) {
        std::vector<uint8_t>& into = out.sections[kind];
        into.insert(into.end(), bytes.begin(), bytes.end());
      },
      threads);
  return out;
}

// What a run at `width` reads of the sections.
std::vector<float> decode(WeightFormat format, const Encoded& encoded, int32_t width) {
  format.width = width;
  std::vector<uint8_t> planes;
  for (int32_t plane = 1; plane <= width; ++plane) {
    const auto& bytes = encoded.sections.at({SectionRole::plane, plane});
    planes.insert(planes.end(), bytes.begin(), bytes.end());
  }
  const auto& table = encoded.sections.at({SectionRole::lut, width});
  std::vector<float> values(static_cast<size_t>(format.rows * format.columns));
  for (int64_t n = 0; n < format.rows; ++n) {
    unpack_row(format, planes.data(), table.data(), n, values.data() + n * format.columns);
  }
  return values;
}

// Codes of `width` bits, bit by bit from the planes.
std::vector<int> codes_of(const WeightFormat& format, const Encoded& encoded, int32_t width) {
  std::vector<int> codes;
  const int64_t words = (format.columns + 31) / 32;
  for (int64_t n = 0; n < format.rows; ++n) {
    const int64_t block = n / 32 * 32, rows = std::min<int64_t>(32, format.rows - block);
    for (int64_t k = 0; k < format.columns; ++k) {
      const int64_t byte = 4 * (block * words + k / 32 * rows + n % 32) + k % 32 / 8;
      int code = 0;
      for (int32_t plane = 1; plane <= width; ++plane) {
        const uint8_t bits = encoded.sections.at({SectionRole::plane, plane})[size_t(byte)];
        code = 2 * code + (bits >> k % 8 & 1);
      }
      codes.push_back(code);
    }
  }
  return codes;
}

}  // namespace

TEST_CASE("any precision equals its slow twin: no sensitivities, of columns, of weights") {
  for (const uint32_t widths : {kThree, 1u << 3 | 1u << 5}) {
    const int least = widths == kThree ? 2 : 3;
    for (const int64_t columns : {1, 3, 9, 31, 40}) {
      for (const int weighted : {0, 1, 2}) {  // 2: each weight has its own
        const WeightFormat format = format_of(5, columns, widths);
        std::vector<float> values = gaussian(5 * columns, uint32_t(columns));
        std::fill_n(values.begin(), columns, -0.25f);            // a constant row
        std::fill_n(values.begin() + columns, columns, 0.0f);    // a row of zeros
        for (int64_t k = 0; k < columns; ++k) values[size_t(2 * columns + k)] = float(k % 3);  // few
        values[size_t(3 * columns)] = 7.0f;  // an outlier
        std::vector<float> sensitivity;
        if (weighted > 0) sensitivity = squares(weighted == 1 ? columns : 5 * columns, 9);
        if (weighted > 0 && columns > 9) sensitivity[4] = 0.0f;  // what counts for nothing
        const AnyCodes made = any_precision(format, "w", values.data(), sensitivity);
        for (int64_t n = 0; n < 5; ++n) {
          const float* counts = sensitivity.data() + (weighted == 2 ? n * columns : 0);
          std::vector<double> weights(size_t(columns), 1.0);
          double mean = 0;
          for (size_t k = 0; k < weights.size() && weighted > 0; ++k) {
            mean += double(counts[k]) / double(columns);
          }
          for (size_t k = 0; k < weights.size() && weighted > 0; ++k) {
            weights[k] = std::max(double(counts[k]) / mean, 1e-6);
          }
          const auto begin = values.begin() + n * columns;
          const auto twin = test::slow_any({begin, begin + columns}, weights, least, format.width);
          size_t table = 0;
          for (int width = least; width <= format.width; ++width) {
            if (!format.has_width(width)) continue;
            CAPTURE(widths, columns, weighted, n, width);
            const auto& means = twin[size_t(width - least)].means;
            for (size_t code = 0; code < means.size(); ++code) {
              const float kept =
                  half_to_float(made.tables[table][(size_t(n) << width) + code]);
              REQUIRE(double(kept) == Approx(means[code]).epsilon(6e-4).margin(1e-7));
            }
            ++table;
          }
          for (int64_t k = 0; k < columns; ++k) {
            CAPTURE(widths, columns, weighted, n, k);
            REQUIRE(int(made.codes[size_t(n * columns + k)]) == twin.back().codes[size_t(k)]);
          }
        }
      }
    }
  }
}

TEST_CASE("any precision: a code is the beginning of every longer one, and more bits lose less") {
  for (const uint32_t widths : {kThree, 0x1FCu}) {
    const int64_t rows = 601, columns = 70;  // several tiles, a short last block
    const WeightFormat format = format_of(rows, columns, widths);
    const std::vector<float> values = gaussian(rows * columns, 3), weight = squares(columns, 4);
    const Encoded encoded = encode(format, values, weight);
    std::vector<int> shorter;
    double last = std::numeric_limits<double>::infinity();
    for (int32_t width = 2; width <= format.width; ++width) {
      const std::vector<int> codes = codes_of(format, encoded, width);
      if (!shorter.empty()) {
        for (size_t i = 0; i < codes.size(); ++i) REQUIRE(codes[i] / 2 == shorter[i]);
      }
      shorter = codes;
      const std::vector<float> decoded = decode(format, encoded, width);
      const auto& table = encoded.sections.at({SectionRole::lut, width});
      double error = 0;
      for (size_t i = 0; i < codes.size(); ++i) {
        const size_t row = i / size_t(columns);
        uint16_t half;
        std::memcpy(&half, table.data() + 2 * ((row << width) + size_t(codes[i])), 2);
        REQUIRE(decoded[i] == half_to_float(half));
        const double d = double(decoded[i]) - double(values[i]);
        error += double(weight[i % size_t(columns)]) * d * d;
      }
      CHECK(error < (width <= 5 ? 0.5 : 1.001) * last);  // then there are more codes than values
      last = error;
    }
  }
}

TEST_CASE("any precision: the bytes are rows x (bits x padded K / 8 + 2 x the entries of tables)") {
  for (const int64_t columns : {1, 32, 40, 172}) {
    const int64_t rows = 45, padded = (columns + 31) / 32 * 32;
    const WeightFormat format = format_of(rows, columns);
    const Encoded encoded = encode(format, gaussian(rows * columns, 5));
    size_t bytes = 0;
    for (const auto& [kind, section] : encoded.sections) bytes += section.size();
    CHECK(int64_t(bytes) == rows * (4 * padded / 8 + 2 * (4 + 8 + 16)));
    CHECK(bytes == format.stored_bytes());
    CHECK(encoded.sections.size() == 7);
    const Encoded alone = encode(format_of(rows, columns, 1u << 6), gaussian(rows * columns, 5));
    CHECK(alone.sections.size() == 7);  // six planes and one table
  }
}

TEST_CASE("any precision: few values are kept exactly, the same bytes from any number of threads") {
  const int64_t rows = 530, columns = 40;
  const WeightFormat format = format_of(rows, columns);
  std::vector<float> values(size_t(rows * columns));
  for (size_t i = 0; i < values.size(); ++i) values[i] = float(i * 7 % 16) / 16.0f - 0.25f;
  const Encoded one = encode(format, values, {}, 1);
  CHECK(encode(format, values, {}, 3).sections == one.sections);
  for (int64_t k = 0; k < columns; ++k) values[size_t(columns + k)] = 0.5f;
  std::fill_n(values.begin(), columns, 0.0f);
  const Encoded edges = encode(format, values);
  for (const int32_t width : {2, 3, 4}) {
    const std::vector<float> decoded = decode(format, edges, width);
    for (int64_t k = 0; k < columns; ++k) {
      CHECK(decoded[size_t(k)] == 0.0f);
      CHECK(decoded[size_t(columns + k)] == 0.5f);
    }
  }
  // No column was ever excited: all count alike.
  const std::vector<float> none(size_t(columns), 0.0f);
  CHECK(encode(format, values, none).sections == edges.sections);
}

TEST_CASE("any precision: sensitive columns are kept better") {
  const int64_t rows = 64, columns = 128;
  const WeightFormat format = format_of(rows, columns);
  const std::vector<float> values = gaussian(rows * columns, 8);
  std::vector<float> sensitivity(size_t(columns), 0.01f);
  std::fill_n(sensitivity.begin(), columns / 8, 10.0f);
  const Encoded plain = encode(format, values), weighted = encode(format, values, sensitivity);
  for (const int32_t width : {2, 3, 4}) {
    const auto error = [&](const Encoded& encoded) {
      const std::vector<float> decoded = decode(format, encoded, width);
      double sum = 0;
      for (size_t i = 0; i < decoded.size(); ++i) {
        const double d = double(decoded[i]) - double(values[i]);
        sum += double(sensitivity[i % size_t(columns)]) * d * d;
      }
      return sum;
    };
    CHECK(error(weighted) < 0.9 * error(plain));
  }
}

TEST_CASE("any precision: sensitivities of each weight reach the tiles that they belong to") {
  const int64_t rows = 530, columns = 40;  // several tiles
  const WeightFormat format = format_of(rows, columns);
  const std::vector<float> values = gaussian(rows * columns, 6), own = squares(rows * columns, 7);
  Encoded encoded;
  encode_any(
      "layer.weight", format,
      [&](int64_t first, int64_t count, float* to) {
        std::copy_n(values.begin() + first * columns, count * columns, to);
      },
      {},
      [&](SectionKind kind, std::span<const uint8_t> bytes) {
        std::vector<uint8_t>& into = encoded.sections[kind];
        into.insert(into.end(), bytes.begin(), bytes.end());
      },
      2,
      [&](int64_t first, int64_t count, float* to) {
        std::copy_n(own.begin() + first * columns, count * columns, to);
      });
  const AnyCodes whole = any_precision(format, "w", values.data(), own);
  const std::vector<int> codes = codes_of(format, encoded, format.width);
  for (size_t i = 0; i < codes.size(); ++i) REQUIRE(codes[i] == int(whole.codes[i]));
}

TEST_CASE("any precision refuses what fp16 cannot hold, naming the tensor") {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), 1e6f,
                          -std::numeric_limits<float>::infinity()}) {
    std::vector<float> values(64, 0.1f);
    values[33] = bad;
    CHECK_THROWS_WITH(encode(format_of(2, 32), values), Catch::Contains("layer.weight"));
  }
}
