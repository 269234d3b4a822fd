// Symbolic shape inference in one forward walk (Transformer-Lite, symbolic dynamic shapes).
// Every value gets a shape in symbols; integer contents of shape arithmetic are followed element
// by element, so that shape-computing operators vanish; constant subgraphs are computed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "converter/ir/graph.h"

namespace pocket::shape {

struct InferOptions {
  // A result larger than this is not materialised: the node stays.
  int64_t fold_elements = int64_t{1} << 21;
};

// A float constant that nodes keep reading as it stands in the model: rank >= 2 and more than this
// many elements. Operators on it (Transpose of a tied head, Cast of a half matrix) are not folded.
inline constexpr int64_t kWeightElements = 1024;

struct InferReport {
  int nodes_before = 0;
  int nodes_after = 0;
  int folded_constant = 0;              // nodes whose result became a constant
  int folded_symbolic = 0;              // nodes whose result became elements in symbols
  std::vector<std::string> unresolved;  // "value: reason", one per value without a shape
};

// Annotates and folds in place and removes what became dead. A value without a shape is reported,
// never guessed; an impossible graph (operands that cannot broadcast, ...) throws Error(bad_input).
InferReport infer_shapes(ir::Graph&, const InferOptions& = {});

// Throws Error(bad_input) listing the unresolved values, if there are any.
void require_resolved(const InferReport&);

// One line per value: name, element type, shape in symbols. For llmconvert --shapes-only.
std::string shapes_text(const ir::Graph&);

}  // namespace pocket::shape
