#include "converter/quant/encode.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <thread>
#include <vector>

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

void encode_tile(const std::string& name, const WeightFormat& format, const RowReader& read_rows,
                 int64_t first, Tile* tile) {
  std::vector<float> values(static_cast<size_t>(format.rows * format.columns));
  read_rows(first, format.rows, values.data());
  if (!format.four_bit()) {
    tile->error = check_rounding(name, format.encoding, values.data(), values.size());
    tile->codes = pack_float(format, values.data());
    return;
  }
  std::vector<uint8_t> codes(static_cast<size_t>(format.rows * format.padded_columns()));
  std::vector<uint32_t> pairs(static_cast<size_t>(format.rows * format.groups()));
  tile->error = rtn(format, name, values.data(), codes.data(), pairs.data());
  tile->codes = pack_codes(format, codes.data());
  tile->pairs = pack_pairs(format, pairs.data());
}

}  // namespace

QuantError encode_weight(const std::string& name, const WeightFormat& format,
                         const RowReader& read_rows, const SectionSink& sink, int threads) {
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
          encode_tile(name, part, read_rows, first, &tile);
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
