// How many positions an export can compute: tables of positions, angles or masks that it holds as
// constants end somewhere, whatever its configuration says.
#pragma once

#include <cstdint>

#include "converter/passes/step.h"

namespace pocket {

// The largest number of positions, at most that of the scope, for which everything that depends on
// positions alone can be computed.
int64_t position_reach(const ir::Graph&, const ProofScope&);

}  // namespace pocket
