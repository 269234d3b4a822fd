// Is this graph a decoder that can be converted at all? Said in one sentence when it is not.
#pragma once

#include "converter/ir/graph.h"

namespace pocket::onnx_import {

// Throws Error(bad_input) for a graph that takes its own weights as inputs.
void refuse_training_graph(const ir::Graph&);

// Throws Error(bad_input) for a graph that takes pictures, sound, an encoder's states or its own
// weights as inputs, or no token ids.
void require_language_model(const ir::Graph&);

// Throws Error(bad_input) when a language model has a fixed number of tokens or of past rows,
// naming the export to use.
void require_decoder(const ir::Graph&);

// For a model without inputs of past keys and values: causal attention that the passes recognise
// brings its own states, any other operator could look back without one. Throws Error(bad_input)
// when `unfused` operators were not recognised.
void require_recognised_states(size_t unfused);

}  // namespace pocket::onnx_import
