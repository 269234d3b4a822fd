// The explicit lists of reference functions, one per file of operators. No registration happens
// behind the reader's back.
#pragma once

#include "converter/reference/registry.h"

namespace pocket::reference {

void register_elementwise(Registry&);
void register_matmul(Registry&);
void register_movement(Registry&);
void register_gather(Registry&);
void register_reduce(Registry&);
void register_extras(Registry&);
void register_quantised(Registry&);
void register_rotary(Registry&);
void register_standard_attention(Registry&);
// ONNX Runtime's fused operators.
void register_fused_norm(Registry&);
void register_fused_attention(Registry&);

// Truncates towards zero; what int64 cannot hold saturates, NaN becomes the least value.
int64_t float_to_integer(float);

}  // namespace pocket::reference
