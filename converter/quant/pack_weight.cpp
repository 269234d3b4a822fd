#include "converter/quant/pack_weight.h"

#include <algorithm>
#include <map>

#include "converter/quant/any_precision.h"
#include "converter/quant/moments.h"
#include "converter/quant/parallel.h"
#include "converter/quant/rtn.h"

namespace pocket {
namespace {

using Rows = MomentsCollector::Rows;

constexpr int64_t kErrorRows = 256;  // of a weight in one product

}  // namespace

PackedWeight pack(const QuantWeight& weight, bool clip, int threads, RowRounder round) {
  if (!round) {
    round = [&weight, clip](const WeightFormat& format, const float* values, uint8_t* codes,
                            uint32_t* pairs) {
      return rtn(format, weight.name, values, codes, pairs, clip);
    };
  }
  PackedWeight out;
  out.error = encode_weight(
      weight.name, weight.format,
      [&](int64_t first, int64_t count, float* to) { weight.source->read_rows(first, count, to); },
      [&](SectionRole role, std::span<const uint8_t> bytes) {
        std::vector<uint8_t>& into = role == SectionRole::codes ? out.codes : out.pairs;
        into.insert(into.end(), bytes.begin(), bytes.end());
      },
      threads, {}, round);
  return out;
}

PackedWeight pack_any(const QuantWeight& weight, const Eigen::MatrixXf& moments, int threads) {
  const Eigen::VectorXf squares = moments.diagonal();
  std::map<SectionKind, std::vector<uint8_t>> parts;
  PackedWeight out;
  out.error = encode_any(
      weight.name, weight.format,
      [&](int64_t first, int64_t count, float* to) { weight.source->read_rows(first, count, to); },
      {squares.data(), static_cast<size_t>(squares.size())},
      [&](SectionKind kind, std::span<const uint8_t> bytes) {
        parts[kind].insert(parts[kind].end(), bytes.begin(), bytes.end());
      },
      threads);
  for (const auto& [kind, bytes] : parts) {  // in the order of section_kinds()
    std::vector<uint8_t>& into = kind.role == SectionRole::plane ? out.codes : out.pairs;
    into.insert(into.end(), bytes.begin(), bytes.end());
  }
  return out;
}

std::vector<float> unpack(const WeightFormat& format, const PackedWeight& packed) {
  std::vector<float> values(static_cast<size_t>(format.rows * format.columns));
  // Of several tables, that of the largest width is the last.
  const uint8_t* pairs = packed.pairs.data() + (packed.pairs.size() - format.pair_bytes());
  for (int64_t row = 0; row < format.rows; ++row) {
    unpack_row(format, packed.codes.data(), pairs, row,
               values.data() + row * format.columns);
  }
  return values;
}

std::optional<double> output_error(const QuantWeight& weight, const std::vector<float>& decoded,
                                   const Eigen::MatrixXf& moments, int threads) {
  if (moments.size() == 0) return {};
  const int64_t rows = weight.format.rows, columns = weight.format.columns;
  const int64_t tiles = (rows + kErrorRows - 1) / kErrorRows;
  std::vector<std::pair<double, double>> sums(static_cast<size_t>(tiles));
  parallel_for(tiles, threads, [&](int64_t tile) {
    const int64_t first = tile * kErrorRows, count = std::min(kErrorRows, rows - first);
    Rows values(count, columns);
    weight.source->read_rows(first, count, values.data());
    Rows lost = Eigen::Map<const Rows>(decoded.data() + first * columns, count, columns) - values;
    for (int64_t row = 0; row < count; ++row) {
      const float scale = weight.source->row_scale(first + row);
      values.row(row) /= scale;
      lost.row(row) /= scale;
    }
    sums[static_cast<size_t>(tile)] = {quadratic(lost, moments), quadratic(values, moments)};
  });
  double error = 0.0, norm = 0.0;
  for (const auto& [tile_error, tile_norm] : sums) {
    error += tile_error;
    norm += tile_norm;
  }
  if (norm <= 0.0) return {};
  return std::max(error, 0.0) / norm;
}

}  // namespace pocket
