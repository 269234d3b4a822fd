// The parameter block that a kernel of a generic step reads: written at load, evaluated on the
// device against the step record. Twin of shaders/common/generic.glsl.
//   words 0-7   rank, outer dimensions, scalars, 0, the numbers a, b, c as f32, 0
//   then polynomials of 6 coefficients each (StepPolynomial): 8 extents; for the output and the
//   operands a, b, c an offset and 8 strides; 13 scalars
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/program/generic.h"

namespace pocket {

inline constexpr size_t kGenericBlockWords =
    8 + 6 * (kGenericRank + (1 + kGenericOperands) * (kGenericRank + 1) + kGenericScalars);

// `known` binds rows and context. Throws Error(bad_input) as step_polynomial does.
std::vector<uint32_t> generic_block(const GenericStep&, const Bindings& known);

}  // namespace pocket
