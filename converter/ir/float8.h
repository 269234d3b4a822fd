// The four 8-bit floats of ONNX, from their bit fields.
#pragma once

#include <cstdint>

#include "converter/ir/graph.h"

namespace pocket::ir {

// The value of the bits of an 8-bit float type; NaN and, in e5m2, infinities where they are so
// defined. Throws Error(bad_input) for any other type.
float float8_value(ElementType, uint8_t bits);

// The nearest bits, ties to the even code; beyond the largest value saturates, NaN stays NaN.
uint8_t float8_bits(ElementType, float value);

}  // namespace pocket::ir
