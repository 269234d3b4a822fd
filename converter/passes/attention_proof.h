// Proof by random numbers that two ways to compute an attention are the same.
#pragma once

#include <utility>
#include <vector>

#include "converter/passes/step.h"

namespace pocket {

struct AttentionProof {
  std::vector<std::pair<ir::ValueId, ir::ValueId>> pairs;  // (old, new) values to compare
  std::vector<ir::ValueId> cuts;                           // what both depend on besides positions
  int64_t window = 0;  // steps go across its edge when it is short
};
// Feeds the cuts with random numbers and compares at several steps.
bool proves_equal(const ir::Graph&, const AttentionProof&, const ProofScope&);

}  // namespace pocket
