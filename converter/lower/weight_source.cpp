#include "converter/lower/weight_source.h"

#include <Eigen/Core>
#include <algorithm>
#include <bit>
#include <cstring>
#include <string>

#include "runtime/base/error.h"

namespace pocket {

namespace {

using ir::ElementType;

[[noreturn]] void fail(const std::string& what) {
  throw Error(ExitCode::bad_input, "a weight " + what + "; export the model again.");
}

int64_t stored_rows(const ir::TensorData& data) {
  return data.shape.size() == 1 ? 1 : data.shape[0];
}
int64_t stored_columns(const ir::TensorData& data) { return data.shape.back(); }

int64_t columns_of(const WeightPart& part) {
  return part.transposed ? stored_rows(part.data) : stored_columns(part.data);
}

void check_bytes(const ir::TensorData& data) {
  const auto needed = static_cast<uint64_t>(data.elements()) * (ir::element_bits(data.type) / 8);
  if (data.bytes == nullptr || data.byte_size < needed) {
    fail("needs " + std::to_string(needed) + " bytes but has " + std::to_string(data.byte_size));
  }
}

void check(const WeightPart& part) {
  const ir::TensorData& data = part.data;
  if (!ir::is_float_type(data.type)) {
    fail("of type " + std::string(ir::element_name(data.type)) + " is no float tensor");
  }
  if (data.shape.empty() || data.shape.size() > 2) {
    fail("has " + std::to_string(data.shape.size()) + " dimensions instead of 1 or 2");
  }
  if (data.quantised == nullptr) check_bytes(data);
  const int64_t most = part.transposed ? stored_columns(data) : stored_rows(data);
  if (part.first_row < 0 || part.rows < 0 || part.first_row > most - part.rows) {
    fail("of " + std::to_string(most) + " rows is read from row " + std::to_string(part.first_row) +
         " for " + std::to_string(part.rows) + " rows");
  }
}

float load(ElementType type, const std::byte* bytes, int64_t index) {
  const auto read = [&]<typename T>(T value) {
    std::memcpy(&value, bytes + static_cast<size_t>(index) * sizeof(T), sizeof(T));
    return value;
  };
  switch (type) {
    case ElementType::f32:
      return read(float{});
    case ElementType::f64:
      return static_cast<float>(read(double{}));
    case ElementType::f16:
      return static_cast<float>(std::bit_cast<Eigen::half>(read(uint16_t{})));
    case ElementType::bf16:
      return std::bit_cast<float>(static_cast<uint32_t>(read(uint16_t{})) << 16);
    default:
      fail("is no float tensor");
  }
}

// Rows of a matrix that the file holds as integer codes.
void read_codes(const WeightPart& part, int64_t first, int64_t count, float* out) {
  const ir::TensorData& data = part.data;
  const int64_t stride = stored_columns(data);
  const int64_t columns = columns_of(part);
  if (!part.transposed) {
    data.read_floats(first * stride, count * stride, out);
    return;
  }
  std::vector<float> piece(static_cast<size_t>(count));
  for (int64_t k = 0; k < columns; ++k) {
    data.read_floats(k * stride + first, count, piece.data());
    for (int64_t n = 0; n < count; ++n) out[n * columns + k] = piece[static_cast<size_t>(n)];
  }
}

void read_stored(const WeightPart& part, int64_t first, int64_t count, float* out) {
  const ir::TensorData& data = part.data;
  const int64_t stride = stored_columns(data);
  const int64_t columns = columns_of(part);
  first += part.first_row;
  if (data.quantised != nullptr) {
    read_codes(part, first, count, out);
    return;
  }
  if (!part.transposed) {
    if (data.type == ElementType::f32) {
      std::memcpy(out, data.bytes + static_cast<size_t>(first * stride) * sizeof(float),
                  static_cast<size_t>(count * columns) * sizeof(float));
      return;
    }
    for (int64_t i = 0; i < count * columns; ++i) {
      out[i] = load(data.type, data.bytes, first * stride + i);
    }
    return;
  }
  for (int64_t k = 0; k < columns; ++k) {  // along the file, so that each cache line serves `count`
    for (int64_t n = 0; n < count; ++n) {
      out[n * columns + k] = load(data.type, data.bytes, k * stride + first + n);
    }
  }
}

void read_part(const WeightPart& part, int64_t first, int64_t count, float* out) {
  read_stored(part, first, count, out);
  if (part.factor == 1.0f) return;
  for (int64_t i = 0; i < count * columns_of(part); ++i) out[i] *= part.factor;
}

}  // namespace

WeightSource::WeightSource(std::vector<WeightPart> parts) : parts_(std::move(parts)) {
  if (parts_.empty()) fail("has no parts");
  for (const WeightPart& part : parts_) {
    check(part);
    if (columns_of(part) != columns_of(parts_.front())) {
      fail("is merged from parts of " + std::to_string(columns_of(parts_.front())) + " and " +
           std::to_string(columns_of(part)) + " columns");
    }
    rows_ += part.rows;
  }
  columns_ = columns_of(parts_.front());
}

void WeightSource::read_rows(int64_t first, int64_t count, float* out) const {
  if (first < 0 || count < 0 || first > rows_ - count) {
    fail("of " + std::to_string(rows_) + " rows is read from row " + std::to_string(first) +
         " for " + std::to_string(count) + " rows");
  }
  int64_t start = 0;
  for (const WeightPart& part : parts_) {
    const int64_t from = std::max(first, start);
    const int64_t to = std::min(first + count, start + part.rows);
    if (from < to) read_part(part, from - start, to - from, out + (from - first) * columns_);
    start += part.rows;
  }
  if (row_scales_.empty() && column_scales_.empty()) return;
  for (int64_t row = 0; row < count; ++row) {
    for (int64_t k = 0; k < columns_; ++k, ++out) {
      *out *= row_scale(first + row);
      if (!column_scales_.empty()) *out *= column_scales_[static_cast<size_t>(k)];
    }
  }
}

void WeightSource::scale_rows(int64_t first, const std::vector<float>& factors) {
  const auto count = static_cast<int64_t>(factors.size());
  if (first < 0 || first > rows_ - count) fail("is scaled beyond its rows");
  row_scales_.resize(static_cast<size_t>(rows_), 1.0f);
  for (size_t i = 0; i < factors.size(); ++i) {
    row_scales_[static_cast<size_t>(first) + i] *= factors[i];
  }
}

void WeightSource::scale_columns(const std::vector<float>& factors) {
  if (static_cast<int64_t>(factors.size()) != columns_) fail("is scaled beyond its columns");
  column_scales_.resize(factors.size(), 1.0f);
  for (size_t i = 0; i < factors.size(); ++i) column_scales_[i] *= factors[i];
}

bool WeightSource::same_values(const WeightSource& other) const {
  if (rows_ != other.rows_ || columns_ != other.columns_) return false;
  const bool same_parts = std::equal(
      parts_.begin(), parts_.end(), other.parts_.begin(), other.parts_.end(),
      [](const WeightPart& a, const WeightPart& b) {
        return a.data.bytes == b.data.bytes && a.data.quantised == b.data.quantised &&
               a.data.type == b.data.type && a.factor == b.factor && a.data.shape == b.data.shape &&
               a.transposed == b.transposed && a.first_row == b.first_row && a.rows == b.rows;
      });
  if (same_parts && row_scales_ == other.row_scales_ && column_scales_ == other.column_scales_) {
    return true;
  }
  constexpr int64_t kTile = 256;
  std::vector<float> mine(static_cast<size_t>(kTile * columns_)), theirs(mine.size());
  for (int64_t first = 0; first < rows_; first += kTile) {
    const int64_t count = std::min(kTile, rows_ - first);
    read_rows(first, count, mine.data());
    other.read_rows(first, count, theirs.data());
    const auto bytes = static_cast<size_t>(count * columns_) * sizeof(float);
    if (std::memcmp(mine.data(), theirs.data(), bytes) != 0) return false;
  }
  return true;
}

}  // namespace pocket
