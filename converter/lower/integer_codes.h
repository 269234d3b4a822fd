// The integer codes of weights that the model's file already holds quantised (x = s * (q - z)):
// they pass into our 4-bit formats unchanged (papers.md 1.2), without a second rounding.
#pragma once

#include <cstdint>

#include "converter/lower/weight_source.h"

namespace pocket {

// True when every part is held as 4-bit codes whose scale and zero point are constant over each
// group of `group` columns of a row.
bool holds_integer_codes(const WeightSource&, int64_t group);

// The group size of a weight for which groups of `asked` (16, or a multiple of 32) are asked: a row
// that is shorter is one group, without lanes that nobody needs; codes of the model's file in blocks
// of 16 stay as they are in groups of 16 unless larger groups than 32 are asked for.
int64_t group_for(const WeightSource&, int64_t asked);

// Rows [first, first + count): codes 0..15 [count, columns], and for each row and group the scale
// and the zero point on the scale of those codes. Only when holds_integer_codes().
void read_integer_codes(const WeightSource&, int64_t group, int64_t first, int64_t count,
                        uint8_t* codes, float* scales, float* zeros);

}  // namespace pocket
