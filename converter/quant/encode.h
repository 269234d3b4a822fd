// A weight from its rows to the bytes of its sections, tile by tile: memory stays bounded by a few
// megabytes per thread whatever the weight's size.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "converter/quant/rtn.h"
#include "runtime/package/weight.h"

namespace pocket {

// Writes rows [first, first + count) as count * columns floats; called from several threads.
using RowReader = std::function<void(int64_t first, int64_t count, float* out)>;
// Writes the 4-bit codes that the weight already has: codes [count, columns] in 0..15, and scale s
// and zero point z of each row and filled group of the format, x = s * (q - z). Called from several
// threads.
using CodeReader =
    std::function<void(int64_t first, int64_t count, uint8_t* codes, float* scales, float* zeros)>;
// Rounds a tile of `format.rows` rows: codes [rows, padded columns] and pairs
// [rows, groups], as rtn() does. Called from several threads.
using RowRounder = std::function<QuantError(const WeightFormat& format, const float* values,
                                            uint8_t* codes, uint32_t* pairs)>;
// Receives the bytes of each role in the order of the layout; called from one thread.
using SectionSink = std::function<void(SectionRole, std::span<const uint8_t>)>;

// f32 and f16 are rounded, int4 and m0e4 go through `round`, or rtn() when it is empty; with
// `read_codes` they keep those codes, and only the scale and zero point of a group are rounded to
// its pair (papers.md 1.2). Throws Error(bad_input) naming the tensor when a value is not finite or
// does not fit.
QuantError encode_weight(const std::string& name, const WeightFormat& format,
                         const RowReader& read_rows, const SectionSink& sink, int threads,
                         const CodeReader& read_codes = {}, const RowRounder& round = {});

}  // namespace pocket
