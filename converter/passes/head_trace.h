// A tensor of heads followed back to the rows that it is made of. On the way stand operators that
// only move elements, multiplications by a scalar, the rotary embedding, a norm of each head, and
// the append to a KV state, in any order that the program can compute. Which element of the rows
// goes where is found by evaluation, not by reading each Reshape and Transpose.
#pragma once

#include <optional>
#include <vector>

#include "converter/ir/graph.h"
#include "converter/passes/step.h"

namespace pocket {

struct HeadTrace {
  ir::ValueId base = ir::kAbsent;  // where the way ends
  double scale = 1.0;
  const ir::Node* rotary = nullptr;
  const ir::Node* norm = nullptr;         // of each head
  ir::ValueId norm_weight = ir::kAbsent;  // constant of [head_dim] or one row per head
  ir::ValueId past = ir::kAbsent;         // graph input that the new rows are appended to
  const ir::Node* append = nullptr;       // the Concat that does it
};
std::optional<HeadTrace> trace_heads(const ir::Graph&, ir::ValueId heads, int64_t head_dim);

// A node that moves elements of its first input and computes nothing.
bool is_movement(const ir::Graph&, const ir::Node&);

// Rows [1.., tokens, ...]: the product of the dimensions behind the tokens, when they are numbers
// and nothing but 1 stands before; none otherwise.
std::optional<int64_t> row_width(const ir::Graph&, ir::ValueId);

// For every element of `value` at the step the element of one of the sources that it is: sources
// are numbered on, so element e of the second one is `elements of the first` + e. Norms, rotations
// and scalars on the way are taken as identities. none when something else is on the way.
struct ElementMap {
  std::vector<int64_t> shape;
  std::vector<int64_t> from;
};
std::optional<std::vector<ElementMap>> element_maps(const ir::Graph&,
                                                    const std::vector<ir::ValueId>& values,
                                                    const std::vector<ir::ValueId>& sources, Step);

}  // namespace pocket
