// Consistency of one generic operator: what verify() asks of its steps.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/program/program.h"

namespace pocket {

// Indices of the operator are in range already; operators of other kinds must have no steps.
// Places outside of a tensor are not refused here: kernels and host check every access. Throws
// Error(bad_input) with the operator's name.
void check_generic(const Program&, const std::vector<std::vector<int64_t>>& weight_shapes,
                   const Operator&, Part);

}  // namespace pocket
