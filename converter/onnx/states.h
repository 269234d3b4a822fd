// Which inputs are the past of which outputs.
#pragma once

#include "converter/ir/graph.h"

namespace pocket::onnx_import {

// Pairs inputs and outputs whose names differ only in saying past or present:
// past_key_values.3.key with present.3.key. Returns the number of pairs.
int pair_states(ir::Graph&);

}  // namespace pocket::onnx_import
