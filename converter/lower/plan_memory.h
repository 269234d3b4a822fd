// The symbolic memory plan (papers.md 1.3): one arena for every binding of the symbols.
//
// Which bytes two tensors may share is decided by lifetimes, and where a tensor lies by a stacking
// order (MemoryPlan), so that no binding can make two live tensors overlap. The order is the best
// of several packings of the usual bindings.
#pragma once

#include "runtime/program/program.h"

namespace pocket {

// Replaces program.plan. The operators, tensors, symbols, hidden and logits must be final.
// Throws Error(bad_input) as compute_lifetimes does.
void plan_memory(Program& program);

}  // namespace pocket
