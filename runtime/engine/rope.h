// The table behind a rotary embedding, as it lies on the device.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/package/package.h"
#include "runtime/program/program.h"

namespace pocket {

// [variants, context, 2 * half] f32: cosines, then sines; see RopeTable and make_rope_table. The
// package is asked only for a table that lies in a weight.
std::vector<float> compute_rope_table(const RopeTable&, int64_t context,
                                      const Package* package = nullptr);
uint64_t rope_table_bytes(const RopeTable&, int64_t context);

}  // namespace pocket
