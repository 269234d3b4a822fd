// Which inputs are the past of which outputs.
#pragma once

#include "converter/ir/graph.h"

namespace pocket::onnx_import {

// True for an input whose name says that it holds past keys or values.
bool names_past(const std::string& input_name);

// Pairs inputs and outputs whose names differ only in saying past or present
// (past_key_values.3.key with present.3.key), then those where the output is the input with rows
// appended (Concat, or the present of an attention operator). Returns the number of pairs.
int pair_states(ir::Graph&);

// Widths that a state's input leaves open by a symbol ("kv_cache_dim") become the numbers that its
// output has.
void settle_states(ir::Graph&);

// A state that packs keys and values, [2, batch, heads, past, width], becomes two states; the graph
// packs and unpacks them itself. Returns how many were split.
int unpack_states(ir::Graph&);

}  // namespace pocket::onnx_import
