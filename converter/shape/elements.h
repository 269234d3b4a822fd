// Integer contents followed in symbols through shape arithmetic.
#pragma once

#include "converter/shape/rule.h"

namespace pocket::shape {

// The elements of every output of a shape-computing node, one list per output, or nothing when
// they do not follow from what is known. `outputs` are what the node's shape rule said.
std::optional<std::vector<std::vector<Expr>>> output_elements(const Call&,
                                                              const std::vector<Output>& outputs);

}  // namespace pocket::shape
