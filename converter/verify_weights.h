// The rewritten graph with the weights of a finished file in place of the model's.
#pragma once

#include <vector>

#include "converter/ir/graph.h"
#include "runtime/package/package.h"

namespace pocket {

struct LoweredWeight;  // converter/lower/lower.h

// `weights` are parallel to the package's. Linears of w8a8 weights compute with integers, and with
// `shadow` add what the codes of their inputs cut off. Throws Error(wrong_result) when a weight is not found
// among the graph's constants, or is farther from the model's than its encoding explains.
ir::Graph with_file_weights(const ir::Graph& rewritten, const std::vector<LoweredWeight>& weights,
                            const Package& package, bool shadow = false);

}  // namespace pocket
