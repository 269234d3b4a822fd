// Constants that the file holds as integer codes.
#include <algorithm>
#include <string>

#include "converter/ir/graph.h"
#include "runtime/base/error.h"

namespace pocket::ir {

namespace {

[[noreturn]] void fail(const std::string& what) {
  throw Error(ExitCode::bad_input,
              "a quantised constant " + what + "; download or export the model again.");
}

float value_at(const TensorData& data, int64_t index) {
  switch (data.type) {  // the usual types without a loop's overhead
    case ElementType::u8:
      return static_cast<uint8_t>(data.bytes[index]);
    case ElementType::i8:
      return static_cast<int8_t>(data.bytes[index]);
    case ElementType::u4:
    case ElementType::i4: {
      const auto byte = static_cast<unsigned>(data.bytes[index / 2]);
      const auto nibble = static_cast<int>(index % 2 == 0 ? byte & 15u : byte >> 4);
      return static_cast<float>(data.type == ElementType::u4 ? nibble : (nibble ^ 8) - 8);
    }
    default: {
      float value = 0;
      data.read_floats(index, 1, &value);
      return value;
    }
  }
}

bool is_code_type(ElementType type) {
  return element_bits(type) <= 8 && type != ElementType::undefined && type != ElementType::boolean;
}

void need(const TensorData& data, const char* what, int64_t elements) {
  if (data.elements() >= elements) return;
  fail("needs " + std::to_string(elements) + ' ' + what + " but has " +
       std::to_string(data.elements()));
}

}  // namespace

bool QuantisedMatrix::present() const {
  const auto there = [](const TensorData& data) {
    return data.bytes != nullptr || data.byte_size == 0;
  };
  return there(codes) && there(scales) && (!zeros || there(*zeros));
}

float QuantisedMatrix::code(int64_t row, int64_t column) const {
  return value_at(codes, row * code_stride + column);
}

float QuantisedMatrix::scale(int64_t row, int64_t column) const {
  return value_at(scales, row / row_block * column_blocks() + column / column_block);
}

float QuantisedMatrix::zero(int64_t row, int64_t column) const {
  if (!zeros) return default_zero;
  return value_at(*zeros, row / row_block * zero_stride + column / column_block);
}

TensorData TensorData::from_quantised(ElementType type, QuantisedMatrix matrix) {
  constexpr int64_t kMost = int64_t{1} << 31;  // products of two stay inside int64
  const bool sane = matrix.rows <= kMost && matrix.columns <= kMost &&
                    matrix.code_stride <= kMost && matrix.zero_stride <= kMost;
  const bool geometry = sane && matrix.rows > 0 && matrix.columns > 0 && matrix.row_block > 0 &&
                        matrix.column_block > 0 && matrix.code_stride >= matrix.columns &&
                        (!matrix.zeros || matrix.zero_stride >= matrix.column_blocks());
  if (!geometry) fail("has an impossible shape");
  if (!is_code_type(matrix.codes.type)) {
    fail(std::string("has codes of type ") + element_name(matrix.codes.type));
  }
  if (!is_float_type(type) || !is_float_type(matrix.scales.type))
    fail("has scales that are no floats");
  need(matrix.codes, "codes", (matrix.rows - 1) * matrix.code_stride + matrix.columns);
  need(matrix.scales, "scales", matrix.row_blocks() * matrix.column_blocks());
  if (matrix.zeros) {
    need(*matrix.zeros, "zero points",
         (matrix.row_blocks() - 1) * matrix.zero_stride + matrix.column_blocks());
  }
  TensorData data;
  data.type = type;
  data.shape = {matrix.rows, matrix.columns};
  if (!matrix.present()) data.byte_size = matrix.codes.byte_size;  // without bytes: absent
  data.quantised = std::make_shared<const QuantisedMatrix>(std::move(matrix));
  return data;
}

void QuantisedMatrix::read_floats(int64_t first, int64_t count, float* out) const {
  if (!present()) fail("lies in an external file that was not read");
  int64_t row = first / columns, column = first % columns;
  for (int64_t i = 0; i < count;) {
    // One scale and one zero point serve the rest of the block in this row.
    const int64_t block_end = std::min(columns, (column / column_block + 1) * column_block);
    const int64_t run = std::min(count - i, block_end - column);
    const float block_scale = scale(row, column), block_zero = zero(row, column);
    for (int64_t k = 0; k < run; ++k) {
      out[i + k] = block_scale * (code(row, column + k) - block_zero);
    }
    i += run;
    column += run;
    if (column == columns) {
      column = 0;
      ++row;
    }
  }
}

}  // namespace pocket::ir
