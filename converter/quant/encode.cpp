#include "converter/quant/encode.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <thread>
#include <vector>

#include "converter/quant/int4.h"
#include "converter/quant/m0e4.h"
#include "runtime/base/error.h"

namespace pocket {
namespace {

constexpr int64_t kTileValues = int64_t{1} << 20;  // floats of a tile
constexpr int64_t kTileRows = 1024;

struct Tile {
  std::vector<uint8_t> codes, pairs;  // packed
  QuantError error;
  std::exception_ptr failure;
};

QuantError check_rounding(const std::string& name, Encoding encoding, const float* values,
                          size_t count) {
  QuantError sum;
  for (size_t i = 0; i < count; ++i) {
    const float kept =
        encoding == Encoding::f16 ? half_to_float(float_to_half(values[i])) : values[i];
    if (!std::isfinite(kept)) {
      throw Error(ExitCode::bad_input, "Tensor '" + name + "' holds " + std::to_string(values[i]) +
                                           ", which " + encoding_name(encoding) +
                                           " cannot represent.");
    }
    const double difference = double{values[i]} - double{kept};
    sum.squared_error += difference * difference;
    sum.squared_norm += double{values[i]} * double{values[i]};
  }
  return sum;
}

// The pair of a group whose codes stay; false where fp16 cannot hold it.
bool foreign_pair(Encoding encoding, float scale, float zero, uint32_t* pair) {
  float low = scale, high = zero;
  if (encoding == Encoding::m0e4) {
    const ScaleBias kept = m0e4_from_integer(double{scale}, double{zero});
    low = static_cast<float>(kept.scale);
    high = static_cast<float>(kept.bias);
  } else if (zero != std::nearbyint(zero) || zero < 0.0f || zero > 15.0f) {
    return false;  // int4 has integer zero points
  }
  const uint16_t first = float_to_half(low), second = float_to_half(high);
  *pair = first | uint32_t{second} << 16;
  return std::isfinite(half_to_float(first)) && std::isfinite(half_to_float(second));
}

// Keeps the codes of a tile; false when a group's pair does not fit.
bool keep_codes(const WeightFormat& format, const CodeReader& read_codes, int64_t first,
                const float* values, uint8_t* codes, uint32_t* pairs, QuantError* error) {
  const int64_t padded = format.padded_columns(), groups = filled_groups(format);
  std::vector<uint8_t> own(static_cast<size_t>(format.rows * format.columns));
  std::vector<float> scales(static_cast<size_t>(format.rows * groups)), zeros(scales.size());
  read_codes(first, format.rows, own.data(), scales.data(), zeros.data());
  clear_codes(format, codes, pairs);
  const auto decode = format.encoding == Encoding::m0e4 ? M0e4::decode : Int4::decode;
  for (int64_t row = 0; row < format.rows; ++row) {
    for (int64_t k = 0; k < format.columns; ++k) {
      uint32_t* pair = pairs + row * format.groups() + k / format.group;
      const auto at = static_cast<size_t>(row * groups + k / format.group);
      if (k % format.group == 0 &&
          !foreign_pair(format.encoding, scales[at], zeros[at], pair)) {
        return false;
      }
      const uint8_t code = own[static_cast<size_t>(row * format.columns + k)];
      codes[row * padded + k] = code;
      const double value = double{values[row * format.columns + k]};
      const double difference = value - double{decode(code, *pair)};
      error->squared_error += difference * difference;
      error->squared_norm += value * value;
    }
  }
  return true;
}

void encode_tile(const std::string& name, const WeightFormat& format, const RowReader& read_rows,
                 const CodeReader& read_codes, const RowRounder& round, int64_t first,
                 Tile* tile) {
  std::vector<float> values(static_cast<size_t>(format.rows * format.columns));
  read_rows(first, format.rows, values.data());
  if (!format.four_bit()) {
    tile->error = check_rounding(name, format.encoding, values.data(), values.size());
    tile->codes = pack_float(format, values.data());
    return;
  }
  std::vector<uint8_t> codes(static_cast<size_t>(format.rows * format.padded_columns()));
  std::vector<uint32_t> pairs(static_cast<size_t>(format.rows * format.groups()));
  QuantError kept;
  if (read_codes &&
      keep_codes(format, read_codes, first, values.data(), codes.data(), pairs.data(), &kept)) {
    tile->error = kept;
  } else if (round) {
    tile->error = round(format, values.data(), codes.data(), pairs.data());
  } else {
    tile->error = rtn(format, name, values.data(), codes.data(), pairs.data());
  }
  tile->codes = pack_codes(format, codes.data());
  tile->pairs = pack_pairs(format, pairs.data());
}

}  // namespace

QuantError encode_weight(const std::string& name, const WeightFormat& format,
                         const RowReader& read_rows, const SectionSink& sink, int threads,
                         const CodeReader& read_codes, const RowRounder& round) {
  check_format(format, name);
  const int64_t fitting = kTileValues / format.columns / kBlockRows * kBlockRows;
  const int64_t tile_rows = std::clamp(fitting, kBlockRows, kTileRows);
  QuantError sum;
  for (int64_t next = 0; next < format.rows;) {
    std::vector<Tile> tiles(static_cast<size_t>(std::max(threads, 1)));
    std::vector<std::jthread> workers;
    for (Tile& tile : tiles) {
      if (next >= format.rows) break;
      WeightFormat part = format;
      part.rows = std::min(tile_rows, format.rows - next);
      auto work = [&, part, first = next] {
        try {
          encode_tile(name, part, read_rows, read_codes, round, first, &tile);
        } catch (...) {
          tile.failure = std::current_exception();
        }
      };
      next += part.rows;
      if (&tile == &tiles.back() || next >= format.rows) {
        work();  // the last tile of a batch runs here
      } else {
        workers.emplace_back(work);
      }
    }
    workers.clear();  // joins
    for (const Tile& tile : tiles) {
      if (tile.failure) std::rethrow_exception(tile.failure);
      if (!tile.codes.empty()) sink(SectionRole::codes, tile.codes);
      if (!tile.pairs.empty()) sink(SectionRole::scale, tile.pairs);
      sum.add(tile.error);
    }
  }
  return sum;
}

}  // namespace pocket
