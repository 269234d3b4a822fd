// The symbolic memory plan (papers.md 1.3): activations share blocks whose capacities are
// expressions. A block is reused only where the proof says that the tensor fits for every binding.
#pragma once

#include "runtime/program/program.h"

namespace pocket {

// Replaces program.plan. The operators, tensors, symbols, hidden and logits must be final.
// Throws Error(bad_input) as compute_lifetimes does.
void plan_memory(Program& program);

}  // namespace pocket
