// Reference functions of the domain "pocket": the computations that converter/passes recognises.
// Rows are [.., tokens, width]; weights of linears are inputs 3.. stacked along their rows, each
// with `transposed` (the constant lies [K, N]), `first_row` and `rows` at the same index.
//
//   Embed            ids, table, positions table?, positions?    {scale, position_offset}
//                    scale * table[ids] + positions_table[positions]
//   Norm             x, weight?, bias?, residual?                {kind "rms"|"layer", epsilon}
//                    norm(x + residual) * weight + bias; second output: x + residual
//   Linear           x, bias?, residual?, W...                   {activation}
//                    activation(x W^T + bias) + residual
//   GatedLinear      x, gate bias?, up bias?, G, U               {activation}
//                    activation(x G^T + gate bias) * (x U^T + up bias)
//   Activation       x                                           {function}
//   RotaryEmbedding  x, cos, sin, inv_freq   {rotary_dim, interleaved, sequence_axis, scale}
//   Attention        q rows, k rows, v rows, past k, past v, inv_freq?
//                    {heads, kv_heads, head_dim, scale, q_column, k_column, v_column,
//                     rotary_dim, interleaved, rotary_scale}
//                    causal; outputs rows [1, tokens, heads * head_dim] and
//                    present k, present v [1, kv_heads, length, head_dim]
//   SelectRows       x; all rows (the runtime selects those that the head computes)
#pragma once

#include "converter/reference/registry.h"

namespace pocket::reference {

void register_pocket_ops(Registry&);

}  // namespace pocket::reference
