// Reference functions of the domain "pocket": the computations that converter/passes recognises.
// Rows are [.., tokens, width]; weights of linears are inputs 3.. stacked along their rows, each
// with `transposed` (the constant lies [K, N]), `first_row` and `rows` at the same index.
//
//   Embed            ids?, table?, positions table?, positions?  {scale, position_offset}
//                    scale * table[ids] + positions_table[positions], or one of them alone
//   Norm             x, weight?, bias?, residual?                {kind "rms"|"layer", epsilon}
//                    norm(x + residual) * weight + bias; second output: x + residual
//   Linear           x, bias?, residual?, W...                   {activation, factors?}
//                    activation(x W^T + bias) + residual; the rows of part i times factors[i]
//   GatedLinear      x, gate bias?, up bias?, G, U               {activation, factors?}
//                    activation(x G^T + gate bias) * (x U^T + up bias)
//                    Both with {act_scale, code_scales, shadow}: their weights hold codes of w8a8,
//                    code_scales are those of all their rows (w8a8.h)
//   Activation       x                                           {function}
//   RotaryEmbedding  x, past, angles, far angles?
//                    {rotary_dim, interleaved, sequence_axis, scale, far_scale, far_from}
//                    angles: inv_freq [rotary_dim / 2], or a table [positions, rotary_dim] of
//                    cosines, then sines; the far ones hold where past + tokens >= far_from
//   Attention        q rows, k rows, v rows, past k, past v, angles?, far angles?, slopes?,
//                    q norm?, k norm?
//                    {heads, kv_heads, head_dim, scale, soft_cap, window, q_column, k_column,
//                     v_column, norm "none"|"rms"|"layer", epsilon, rotary_dim, interleaved,
//                     rotary_scale, far_scale, far_from}
//                    heads of q and k are normalised (times a weight [head_dim] or [heads *
//                    head_dim]), then rotated; causal, over the last `window` keys (0: all);
//                    score = cap(scale * q k) + slope * (key - position), cap by soft_cap unless 0;
//                    outputs rows [1, tokens, heads * head_dim] and
//                    present k, present v [1, kv_heads, length, head_dim]
//   SelectRows       x; all rows (the runtime selects those that the head computes)
//   Choose           condition (one boolean), a, b: tables [rows, ..] that differ in their rows
//                    condition ? a : b, as long as the longer one; rows that the chosen one lacks
//                    are not a number
#pragma once

#include "converter/reference/registry.h"

namespace pocket::reference {

void register_pocket_ops(Registry&);

}  // namespace pocket::reference
