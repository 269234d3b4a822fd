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
//   int4, m0e4: K is padded to a multiple of the group; a lane in the padding holds a code, and
//         kernels must let it contribute nothing by treating the activation there as zero.
//     codes  u32 j of a unit holds weights 8j..8j+7: weight 8j+2i in bits 4i..4i+3, weight 8j+2i+1
//            in bits 16+4i..16+4i+3 (i = 0..3), so that (w << 6) & 0x03C003C0 | 0x3C003C00 and its
//            three siblings give packed f16 pairs y = 1 + q/16 in column order.
//     pair   "scale" section: u32 per (row, group): f16 S in the low half, f16 B in the high half,
//            stored per block as [group][row] : byte(n, g) = 32*(n/32)*groups*4 + (g*R + n mod
//            32)*4 m0e4: x = S*y + B.    int4: S = scale, B = integer zero point z: x = S*(16(y-1)
//            - z).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace pocket {

enum class Encoding : uint8_t { f32, f16, int4, m0e4 };
const char* encoding_name(Encoding);

inline constexpr int64_t kBlockRows = 32;

// Shape and encoding of one weight. A vector is [1, K].
struct WeightFormat {
  Encoding encoding = Encoding::f32;
  int64_t rows = 0, columns = 0;
  int64_t group = 0;  // weights per (S, B) pair: multiple of 32, 4-bit encodings only

  int64_t padded_columns() const;
  int64_t groups() const;           // per row
  uint64_t code_row_bytes() const;  // bytes of one row in the codes section
  uint64_t code_bytes() const;      // whole codes section
  uint64_t pair_bytes() const;      // whole scale section, 0 when there is none
  bool four_bit() const { return encoding == Encoding::int4 || encoding == Encoding::m0e4; }
};

// Throws Error(bad_input) naming the weight when a size or group is out of range. Everything above
// relies on it.
void check_format(const WeightFormat&, const std::string& name);

enum class SectionRole : uint8_t { codes, scale };
const char* section_role_name(SectionRole);

// A run of rows of one role, contiguous in one shard. first_row is a multiple of kBlockRows, rows
// is too unless it ends the weight. A weight of more than 128 MiB has several sections a role; both
// roles are cut at the same rows.
struct Section {
  SectionRole role = SectionRole::codes;
  int32_t shard = 0;
  uint64_t offset = 0;  // bytes from the shard's start, 256-aligned
  uint64_t bytes = 0;
  int64_t first_row = 0, rows = 0;
};

struct Weight {
  std::string name;
  std::vector<int64_t> shape;  // as in the model: [N, K], or [K]: rows = 1, always f32
  WeightFormat format;
  std::vector<Section> sections;
};

// Packs row-major f32 [rows, columns] as f32 or f16; the 4-bit encodings are packed from codes
// [rows, padded_columns] (one byte each, 0..15) and pairs [rows, groups] by the quantisers.
// A tile of rows [first, first + count) with `first` a multiple of kBlockRows is packed by a format
// with rows = count; tiles one after another are the whole weight.
std::vector<uint8_t> pack_float(const WeightFormat&, const float* values);
std::vector<uint8_t> pack_codes(const WeightFormat&, const uint8_t* codes);
std::vector<uint8_t> pack_pairs(const WeightFormat&, const uint32_t* pairs);

// The host oracle: row `row` as floats, `columns` values. `codes` and `pairs` are whole sections.
void unpack_row(const WeightFormat&, const uint8_t* codes, const uint8_t* pairs, int64_t row,
                float* out);

uint16_t float_to_half(float);  // round to nearest even, overflow to infinity
float half_to_float(uint16_t);

}  // namespace pocket
