// Names of dimensions -> expressions, and their unification over the inputs of a decoder.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "converter/ir/graph.h"

namespace pocket::onnx_import {

// A dim_param as an expression: "past_sequence_length + 1" is parsed; what does not parse becomes
// one plain symbol whose characters other than letters, digits and '_' are replaced by '_'.
Expr dimension_expression(const std::string& dim_param);

// Gives the inputs' dimensions their roles, whatever the exporter called them: batch = 1, the
// length of the ids = `tokens`, that of the states = `past`, that of the attention mask =
// past + tokens. Declared names are hints: one that contradicts its role is overruled with a note.
// A length of the ids that is a number stays one. Sets Graph::symbols with ranges up to `context`.
// Throws Error(bad_input) for a batch other than 1.
void unify_symbols(ir::Graph&, int64_t context, std::vector<std::string>& notes);

}  // namespace pocket::onnx_import
