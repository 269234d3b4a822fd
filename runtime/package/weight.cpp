#include "runtime/package/weight.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <numeric>

#include "runtime/base/checked.h"
#include "runtime/package/w8a8.h"

namespace pocket {
namespace {

constexpr int64_t kUnitBytes = 16;
constexpr int64_t kMaxExtent = std::numeric_limits<int32_t>::max();

int64_t unit_bytes(Encoding encoding) { return encoding == Encoding::any ? 4 : kUnitBytes; }

int64_t unit_weights(Encoding encoding) {
  if (encoding == Encoding::w8a8) return 16;
  return encoding == Encoding::f32 ? 4 : encoding == Encoding::f16 ? 8 : 32;
}

int64_t rows_of_block(const WeightFormat& format, int64_t row) {
  const int64_t first = row / kBlockRows * kBlockRows;
  return std::min(kBlockRows, format.rows - first);
}

// Byte of unit `unit` of row `row` in the codes section.
size_t unit_offset(const WeightFormat& format, int64_t row, int64_t unit) {
  const auto row_bytes = static_cast<int64_t>(format.code_row_bytes());
  return static_cast<size_t>(row / kBlockRows * kBlockRows * row_bytes +
                             (unit * rows_of_block(format, row) + row % kBlockRows) *
                                 unit_bytes(format.encoding));
}

size_t pair_offset(const WeightFormat& format, int64_t row, int64_t group) {
  const int64_t block = row / kBlockRows * kBlockRows;
  return static_cast<size_t>(
      (block * format.groups() + group * rows_of_block(format, row) + row % kBlockRows) * 4);
}

// Bit position of weight k (0..7) in its u32: even weights below bit 16, odd ones above.
int code_shift(int64_t k) { return static_cast<int>(k % 2 * 16 + k / 2 * 4); }

}  // namespace

const char* encoding_name(Encoding encoding) {
  switch (encoding) {
    case Encoding::f32:
      return "f32";
    case Encoding::f16:
      return "f16";
    case Encoding::int4:
      return "int4";
    case Encoding::m0e4:
      return "m0e4";
    case Encoding::any:
      return "any";
    case Encoding::w8a8:
      return "w8a8";
  }
  return "?";
}

const char* section_role_name(SectionRole role) {
  constexpr std::array kNames = {"codes", "scale", "plane", "lut"};
  return kNames.at(static_cast<size_t>(role));
}

void check_format(const WeightFormat& format, const std::string& name) {
  const bool group_fits = format.four_bit()
                              ? format.group == 16 || (format.group >= 32 && format.group <= 256 &&
                                                       format.group % 32 == 0)
                              : format.group == 0;
  if (format.rows < 1 || format.rows > kMaxExtent || format.columns < 1 ||
      format.columns > kMaxExtent - 256 || !group_fits) {
    throw Error(ExitCode::bad_input,
                "Weight '" + name + "' of " + std::to_string(format.rows) + " x " +
                    std::to_string(format.columns) + " as " + encoding_name(format.encoding) +
                    " with groups of " + std::to_string(format.group) +
                    " is not supported: groups hold 16 weights, or 32 to 256 in steps of 32.");
  }
  constexpr uint32_t kAllWidths = (2u << kMostWidth) - (1u << kLeastWidth);
  const bool widths_fit = format.encoding == Encoding::any
                              ? (format.widths & ~kAllWidths) == 0 && format.has_width(format.width)
                              : format.widths == 0 && format.width == 0;
  if (!widths_fit) {
    throw Error(ExitCode::bad_input, "Weight '" + name + "' as " + encoding_name(format.encoding) +
                                         " with codes of " + std::to_string(format.width) +
                                         " bits is not supported: codes of any precision have 2 to "
                                         "8 bits, other encodings say none.");
  }
  if (format.encoding == Encoding::w8a8 && format.columns > kMostW8a8Columns) {
    throw Error(ExitCode::bad_input,
                "Weight '" + name + "' as w8a8 has " + std::to_string(format.columns) +
                    " columns and at most " + std::to_string(kMostW8a8Columns) +
                    " sum up in 32 bits: convert it with other weights.");
  }
}

int64_t WeightFormat::padded_columns() const {
  return checked_round_up(columns, std::max(group, unit_weights(encoding)), "a weight's row");
}

int64_t WeightFormat::groups() const { return four_bit() ? padded_columns() / group : 0; }

uint64_t WeightFormat::code_row_bytes() const {
  return static_cast<uint64_t>(padded_columns() / unit_weights(encoding) * unit_bytes(encoding));
}

uint64_t WeightFormat::code_bytes() const {
  const auto planes = static_cast<uint64_t>(encoding == Encoding::any ? width : 1);
  return checked_mul(static_cast<uint64_t>(rows), planes * code_row_bytes(), "a weight's size");
}

uint64_t WeightFormat::pair_row_bytes() const {
  if (encoding == Encoding::w8a8) return sizeof(W8a8Row);
  return encoding == Encoding::any ? uint64_t{2} << width : static_cast<uint64_t>(groups()) * 4;
}

uint64_t WeightFormat::pair_bytes() const {
  return checked_mul(static_cast<uint64_t>(rows), pair_row_bytes(), "a weight's size");
}

std::vector<SectionKind> WeightFormat::section_kinds() const {
  if (four_bit() || encoding == Encoding::w8a8) {
    return {{SectionRole::codes, 0}, {SectionRole::scale, 0}};
  }
  if (encoding != Encoding::any) return {{SectionRole::codes, 0}};
  std::vector<SectionKind> kinds;
  for (int32_t bits = 1; widths >> bits != 0; ++bits) {
    kinds.push_back({SectionRole::plane, bits});
  }
  for (int32_t bits = kLeastWidth; bits <= kMostWidth; ++bits) {
    if (has_width(bits)) kinds.push_back({SectionRole::lut, bits});
  }
  return kinds;
}

uint64_t WeightFormat::row_bytes(SectionKind kind) const {
  if (kind.role == SectionRole::lut) return uint64_t{2} << kind.bits;
  return kind.role == SectionRole::scale ? pair_row_bytes() : code_row_bytes();
}

uint64_t WeightFormat::stored_bytes() const {
  uint64_t row = 0;
  for (const SectionKind kind : section_kinds()) row += row_bytes(kind);
  return checked_mul(static_cast<uint64_t>(rows), row, "a weight's size");
}

bool WeightFormat::uses(SectionKind kind) const {
  if (kind.role == SectionRole::plane) return kind.bits <= width;
  return kind.role != SectionRole::lut || kind.bits == width;
}

std::vector<uint8_t> pack_float(const WeightFormat& format, const float* values) {
  std::vector<uint8_t> packed(format.code_bytes(), 0);
  const int64_t unit = unit_weights(format.encoding);
  for (int64_t row = 0; row < format.rows; ++row) {
    const float* in = values + row * format.columns;
    for (int64_t column = 0; column < format.columns; ++column) {
      uint8_t* out = packed.data() + unit_offset(format, row, column / unit);
      if (format.encoding == Encoding::f32) {
        std::memcpy(out + column % unit * 4, in + column, 4);
      } else {
        const uint16_t half = float_to_half(in[column]);
        std::memcpy(out + column % unit * 2, &half, 2);
      }
    }
  }
  return packed;
}

std::vector<uint8_t> pack_codes(const WeightFormat& format, const uint8_t* codes) {
  std::vector<uint8_t> packed(format.code_bytes());
  const int64_t padded = format.padded_columns();
  for (int64_t row = 0; row < format.rows; ++row) {
    const uint8_t* in = codes + row * padded;
    for (int64_t word = 0; word < padded / 8; ++word, in += 8) {
      uint32_t bits = 0;
      for (int64_t k = 0; k < 8; ++k) bits |= uint32_t{in[k] & 15u} << code_shift(k);
      std::memcpy(packed.data() + unit_offset(format, row, word / 4) + word % 4 * 4, &bits, 4);
    }
  }
  return packed;
}

std::vector<uint8_t> pack_pairs(const WeightFormat& format, const uint32_t* pairs) {
  std::vector<uint8_t> packed(format.pair_bytes());
  for (int64_t row = 0; row < format.rows; ++row) {
    for (int64_t group = 0; group < format.groups(); ++group) {
      std::memcpy(packed.data() + pair_offset(format, row, group), pairs++, 4);
    }
  }
  return packed;
}

std::vector<uint8_t> pack_plane(const WeightFormat& format, const uint8_t* codes, int32_t plane) {
  std::vector<uint8_t> packed(static_cast<size_t>(format.rows) * format.code_row_bytes());
  const int shift = format.width - plane;
  for (int64_t row = 0; row < format.rows; ++row) {
    const uint8_t* in = codes + row * format.columns;
    for (int64_t first = 0; first < format.columns; first += 32) {
      uint32_t word = 0;
      for (int64_t i = 0; i < 32 && first + i < format.columns; ++i) {
        word |= (uint32_t{in[first + i]} >> shift & 1u) << i;
      }
      std::memcpy(packed.data() + unit_offset(format, row, first / 32), &word, 4);
    }
  }
  return packed;
}

std::vector<uint8_t> pack_w8a8_codes(const WeightFormat& format, const int8_t* codes) {
  std::vector<uint8_t> packed(format.code_bytes(), 0);
  for (int64_t row = 0; row < format.rows; ++row) {
    const int8_t* in = codes + row * format.columns;
    for (int64_t column = 0; column < format.columns; column += kUnitBytes) {
      std::memcpy(packed.data() + unit_offset(format, row, column / kUnitBytes), in + column,
                  static_cast<size_t>(std::min(kUnitBytes, format.columns - column)));
    }
  }
  return packed;
}

std::vector<uint8_t> pack_w8a8_scales(const WeightFormat& format, const float* scales,
                                      const int8_t* codes) {
  std::vector<uint8_t> packed(format.pair_bytes());
  for (int64_t row = 0; row < format.rows; ++row) {
    const int8_t* in = codes + row * format.columns;
    const W8a8Row values{scales[row], std::accumulate(in, in + format.columns, int32_t{0})};
    std::memcpy(packed.data() + static_cast<size_t>(row) * sizeof values, &values, sizeof values);
  }
  return packed;
}

int8_t w8a8_code(const WeightFormat& format, const uint8_t* codes, int64_t row, int64_t column) {
  const size_t at = unit_offset(format, row, column / kUnitBytes);
  return static_cast<int8_t>(codes[at + static_cast<size_t>(column % kUnitBytes)]);
}

W8a8Row w8a8_row(const uint8_t* scales, int64_t row) {
  W8a8Row values;
  std::memcpy(&values, scales + static_cast<size_t>(row) * sizeof values, sizeof values);
  return values;
}

std::vector<uint8_t> join_sections(const Weight& weight, SectionRole role,
                                   const SectionBytes& bytes) {
  std::vector<uint8_t> joined;
  for (const SectionKind kind : weight.format.section_kinds()) {
    const bool second = kind.role == SectionRole::scale || kind.role == SectionRole::lut;
    if (second != (role == SectionRole::scale) || !weight.format.uses(kind)) continue;
    for (const Section& section : weight.sections) {
      if (section.kind() != kind) continue;
      const auto part = bytes(section);
      const auto* begin = reinterpret_cast<const uint8_t*>(part.data());
      joined.insert(joined.end(), begin, begin + part.size());
    }
  }
  return joined;
}

namespace {

void unpack_planes(const WeightFormat& format, const uint8_t* planes, const uint8_t* table,
                   int64_t row, float* out) {
  const size_t plane_bytes = static_cast<size_t>(format.rows) * format.code_row_bytes();
  const uint8_t* values = table + static_cast<size_t>(row) * format.pair_row_bytes();
  for (int64_t column = 0; column < format.columns; ++column) {
    const uint8_t* at = planes + unit_offset(format, row, column / 32);
    size_t code = 0;
    for (int32_t plane = 0; plane < format.width; ++plane, at += plane_bytes) {
      uint32_t word;
      std::memcpy(&word, at, 4);
      code = code << 1 | (word >> (column % 32) & 1u);
    }
    uint16_t half;
    std::memcpy(&half, values + 2 * code, 2);
    out[column] = half_to_float(half);
  }
}

}  // namespace

void unpack_row(const WeightFormat& format, const uint8_t* codes, const uint8_t* pairs, int64_t row,
                float* out) {
  if (format.encoding == Encoding::any) return unpack_planes(format, codes, pairs, row, out);
  if (format.encoding == Encoding::w8a8) {
    const float scale = w8a8_row(pairs, row).scale;
    for (int64_t column = 0; column < format.columns; ++column) {
      out[column] = static_cast<float>(w8a8_code(format, codes, row, column)) * scale;
    }
    return;
  }
  const int64_t unit = unit_weights(format.encoding);
  for (int64_t column = 0; column < format.columns; ++column) {
    const uint8_t* at = codes + unit_offset(format, row, column / unit);
    if (format.encoding == Encoding::f32) {
      std::memcpy(out + column, at + column % unit * 4, 4);
      continue;
    }
    if (format.encoding == Encoding::f16) {
      uint16_t half;
      std::memcpy(&half, at + column % unit * 2, 2);
      out[column] = half_to_float(half);
      continue;
    }
    uint32_t word, pair;
    std::memcpy(&word, at + column % unit / 8 * 4, 4);
    std::memcpy(&pair, pairs + pair_offset(format, row, column / format.group), 4);
    const auto code = static_cast<float>((word >> code_shift(column % 8)) & 15u);
    const float scale = half_to_float(static_cast<uint16_t>(pair));
    const float bias = half_to_float(static_cast<uint16_t>(pair >> 16));
    out[column] = format.encoding == Encoding::m0e4 ? scale * (1.0f + code / 16.0f) + bias
                                                    : scale * (code - bias);
  }
}

uint16_t float_to_half(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t magnitude = bits & 0x7FFFFFFFu;
  if (magnitude >= 0x47800000u) {  // 2^16 and more, infinity, NaN
    const uint32_t nan = magnitude > 0x7F800000u ? 0x200u : 0u;
    return static_cast<uint16_t>(sign | 0x7C00u | nan);
  }
  if (magnitude < 0x38800000u) {  // below 2^-14: a denormal, in units of 2^-24
    // Adding 0.5 aligns the fraction so that the hardware rounds to the nearest even unit.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(shifted) - 0x3F000000u));
  }
  const uint32_t odd = (magnitude >> 13) & 1u;
  const uint32_t rounded = magnitude - 0x38000000u + 0xFFFu + odd;  // 0x7C00 on overflow
  return static_cast<uint16_t>(sign | (rounded >> 13));
}

float half_to_float(uint16_t half) {
  const uint32_t sign = (uint32_t{half} & 0x8000u) << 16;
  const uint32_t exponent = (half >> 10) & 31u, fraction = half & 0x3FFu;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7F800000u | fraction << 13);
  if (exponent != 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
  const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(magnitude));
}

}  // namespace pocket
