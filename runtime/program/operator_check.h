// One operator against the contract of its kind (program.h): list lengths, shapes, attributes.
#pragma once

#include <vector>

#include "runtime/program/program.h"

namespace pocket {

// Every index of `op` must be in range. Throws Error(bad_input) naming the operator.
void check_operator(const Program& program, const std::vector<std::vector<int64_t>>& weight_shapes,
                    const Operator& op, Part part);

}  // namespace pocket
