// How a weight lies in the file, on the GPU, and for every reference: encodings and the row-block
// layout. One layout serves prefill and decode.
//
// Layout "rows32": W is [N, K] row-major in the model. Rows are cut into blocks of 32 (the last
// block holds R = N mod 32 rows, nothing is padded); a block is stored column unit by column unit,
// and within a unit row by row, so that neighbouring lanes that own neighbouring rows load
// neighbouring 16-byte words:
//   byte(n, u) = block_start + (u * R + (n mod 32)) * unit_bytes,  block_start =
//   32*(n/32)*row_bytes
// A unit is 16 bytes: 32 weights of 4 bits, 8 of f16, 4 of f32.
//   f16   K is padded with zeros to a multiple of 8     (32-row block, 8 columns a unit)
//   f32   K is padded with zeros to a multiple of 4     (vectors and small tables)
//   int4, m0e4: K is padded to a multiple of the group, and of 32 where groups hold 16; a lane in the
//         padding holds a code, and kernels must let it contribute nothing by treating the activation
//         there as zero. The pair of a group of 16 that lies wholly in the padding is zero.
//     codes  u32 j of a unit holds weights 8j..8j+7: weight 8j+2i in bits 4i..4i+3, weight 8j+2i+1
//            in bits 16+4i..16+4i+3 (i = 0..3), so that (w << 6) & 0x03C003C0 | 0x3C003C00 and its
//            three siblings give packed f16 pairs y = 1 + q/16 in column order.
//     pair   "scale" section: u32 per (row, group): f16 S in the low half, f16 B in the high half,
//            stored per block as [group][row] : byte(n, g) = 32*(n/32)*groups*4 + (g*R + n mod
//            32)*4 m0e4: x = S*y + B.    int4: S = scale, B = integer zero point z: x = S*(16(y-1)
//            - z).
//   any   codes of several widths in one weight: the code of b bits is the first b bits of every
//         longer one. K is padded with zero bits to a multiple of 32.
//     plane  one section per bit, most significant first ("bits" counts them from 1): a unit is a
//            u32 of 32 weights, weight 32u + i in bit i. b bits read planes 1 to b.
//     lut    one section per stored width w ("bits" is w): f16 [rows, 2^w], the value of each code.
//   w8a8  signed 8-bit codes -127..127, K padded with zero codes to a multiple of 16 (w8a8.h).
//     codes  byte i of unit u holds weight 16u + i.
//     scale  8 bytes per row, in row order: f32 scale of the row, i32 sum of its codes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace pocket {

enum class Encoding : uint8_t { f32, f16, int4, m0e4, any, w8a8 };
inline constexpr Encoding kLastEncoding = Encoding::w8a8;
const char* encoding_name(Encoding);

inline constexpr int64_t kBlockRows = 32;
inline constexpr int32_t kLeastWidth = 2, kMostWidth = 8;  // bits of a code of `any`

enum class SectionRole : uint8_t { codes, scale, plane, lut };
const char* section_role_name(SectionRole);

// Sections of one kind hold all rows of a weight, in order.
struct SectionKind {
  SectionRole role = SectionRole::codes;
  int32_t bits = 0;  // plane: which, from 1; lut: the width; else 0
  auto operator<=>(const SectionKind&) const = default;
};

// Shape and encoding of one weight. A vector is [1, K].
struct WeightFormat {
  Encoding encoding = Encoding::f32;
  int64_t rows = 0, columns = 0;
  int64_t group = 0;  // weights per (S, B) pair: 16 or a multiple of 32, 4-bit encodings only
  uint32_t widths = 0;  // `any` only: bit w is set when codes of w bits have a table
  int32_t width = 0;    // `any` only: bits in use, one of the widths; a writer takes the largest

  int64_t padded_columns() const;
  int64_t groups() const;           // per row
  uint64_t code_row_bytes() const;  // bytes of one row in the codes section, or in one plane
  uint64_t code_bytes() const;      // whole codes section, or the planes in use
  uint64_t pair_row_bytes() const;  // of one row in the scale section, or the table in use
  uint64_t pair_bytes() const;      // whole scale section or table, 0 when there is none
  std::vector<SectionKind> section_kinds() const;  // that a file holds, in order
  uint64_t row_bytes(SectionKind) const;           // of one row in a section of the kind
  uint64_t stored_bytes() const;                   // of all sections
  bool uses(SectionKind) const;                    // false for the bits and tables of other widths
  bool has_width(int32_t bits) const {
    return bits >= kLeastWidth && bits <= kMostWidth && (widths >> bits & 1u) != 0;
  }
  bool four_bit() const { return encoding == Encoding::int4 || encoding == Encoding::m0e4; }
};

// Throws Error(bad_input) naming the weight when a size or group is out of range. Everything above
// relies on it.
void check_format(const WeightFormat&, const std::string& name);

// A run of rows of one role, contiguous in one shard. first_row is a multiple of kBlockRows, rows
// is too unless it ends the weight. A weight of more than 128 MiB has several sections a kind; all
// kinds are cut at the same rows.
struct Section {
  SectionRole role = SectionRole::codes;
  int32_t bits = 0;  // of SectionKind
  int32_t shard = 0;
  uint64_t offset = 0;  // bytes from the shard's start, 256-aligned
  uint64_t bytes = 0;
  int64_t first_row = 0, rows = 0;
  SectionKind kind() const { return {role, bits}; }
};

// What calibration saw of the inputs of one w8a8 linear that leave its range (papers.md 2.4).
struct Outlier {
  float importance = 0;                    // largest magnitude over 128 * act_scale
  std::vector<int32_t> hot_channels = {};  // columns that carry most of them, ascending
  float hit_rate = 0;                      // share of the outliers that lie in hot channels
};

struct Weight {
  std::string name;
  std::vector<int64_t> shape;  // as in the model: [N, K], or [K]: rows = 1, always f32
  WeightFormat format;
  std::vector<Section> sections;
  float act_scale = 0;  // w8a8: step of the linear's input codes, static and per tensor; else 0
  std::optional<Outlier> outlier = std::nullopt;  // w8a8 only
};

// Packs row-major f32 [rows, columns] as f32 or f16; the 4-bit encodings are packed from codes
// [rows, padded_columns] (one byte each, 0..15) and pairs [rows, groups] by the quantisers.
// A tile of rows [first, first + count) with `first` a multiple of kBlockRows is packed by a format
// with rows = count; tiles one after another are the whole weight.
std::vector<uint8_t> pack_float(const WeightFormat&, const float* values);
std::vector<uint8_t> pack_codes(const WeightFormat&, const uint8_t* codes);
std::vector<uint8_t> pack_pairs(const WeightFormat&, const uint32_t* pairs);
// Plane `plane` (1: most significant) of codes [rows, columns] of `width` bits each.
std::vector<uint8_t> pack_plane(const WeightFormat&, const uint8_t* codes, int32_t plane);

// Joins what the width in use reads of a weight: role `codes` gives the codes, or the planes one
// after another; role `scale` the pairs, or the table.
using SectionBytes = std::function<std::span<const std::byte>(const Section&)>;
std::vector<uint8_t> join_sections(const Weight&, SectionRole, const SectionBytes&);

// The host oracle: row `row` as floats, `columns` values. `codes` and `pairs` are joined sections.
void unpack_row(const WeightFormat&, const uint8_t* codes, const uint8_t* pairs, int64_t row,
                float* out);

uint16_t float_to_half(float);  // round to nearest even, overflow to infinity
float half_to_float(uint16_t);

}  // namespace pocket
