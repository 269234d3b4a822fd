// Fused operators of ONNX Runtime and of newer operator sets written out in plain ones, so that the
// passes see the same graph whatever exporter or optimiser made it. One function per operator;
// each is proven by running both sides (test/onnx/expand_test.cpp).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "converter/ir/graph.h"
#include "converter/onnx/emitter.h"

namespace pocket::onnx_import {

// Expands in place; returns how many nodes were replaced. Shapes are inferred on the way when there
// is anything to expand; the caller infers those of the result. Assumes what the program assumes:
// batch 1, every position of the attention mask is real, the past holds `past` rows. Throws
// Error(bad_input) naming an option of an operator that cannot be expanded.
int expand_operators(ir::Graph&, std::vector<std::string>* notes = nullptr);

// True when the graph quantises activations at run time, which expansion drops.
bool rounds_activations(const ir::Graph&);

// The values that replace the outputs of a node, kAbsent where one is not computed (an error when
// it is used); nothing when the node stays as it is.
using Replacement = std::optional<std::vector<ir::ValueId>>;

Replacement expand_norm(Emitter&, const ir::Node&);
Replacement expand_function(Emitter&, const ir::Node&);  // activations, products
Replacement expand_rotary(Emitter&, const ir::Node&);
Replacement expand_attention(Emitter&, const ir::Node&);
Replacement expand_quantised(Emitter&, const ir::Node&);
Replacement expand_integer_product(Emitter&, const ir::Node&);

// Rotates heads [batch, heads, tokens, width] by tables [.., tokens, pairs].
ir::ValueId rotate(Emitter&, ir::ValueId heads, int64_t width, ir::ValueId cosines,
                   ir::ValueId sines, int64_t pairs, bool interleaved);
// Rows of a table by positions [tokens] or [batch, tokens], as [batch or 1, 1, tokens, pairs].
ir::ValueId rotary_rows(Emitter&, ir::ValueId table, ir::ValueId positions);

// Rows of a table that a condition chooses (pocket.Choose). Throws Error(bad_input) where something
// else reads such a table.
int expand_choices(Expansion&);

// Removes what expansions and exporters leave between a state and its user: a packed pair taken
// apart again, empty operands of Concat, casts of indices, the older Softmax over several axes.
int tidy(Expansion&);

}  // namespace pocket::onnx_import
