// When an activation holds its value: the operators between its writing and its last reading.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/program/program.h"

namespace pocket {

struct Lifetimes {
  std::vector<int32_t> first_use;  // by tensor: operator that writes it; kNone for states
  std::vector<int32_t> last_use;   // by tensor: MemoryPlan::last_use; kNone for states
};

// Tensor indices must be in range. Throws Error(bad_input) when an activation is written twice,
// never, or read before it is written.
Lifetimes compute_lifetimes(const Program&);

}  // namespace pocket
