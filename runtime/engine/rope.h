// The table behind a rotary embedding, computed in double: angles of late positions are large, and
// float would lose the fraction that matters.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/program/program.h"

namespace pocket {

// [context, 2 * n] f32 for n frequencies: row p holds cos(p * f_i) * scale for every i, then
// sin(p * f_i) * scale.
std::vector<float> compute_rope_table(const RopeTable&, int64_t context);
uint64_t rope_table_bytes(const RopeTable&, int64_t context);

}  // namespace pocket
