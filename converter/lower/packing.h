// Packings of tensors with lifetimes into one arena, for sizes that are numbers: dynamic storage
// allocation, which is NP-hard, so there are several heuristics and the caller keeps the best.
#pragma once

#include <cstdint>
#include <vector>

namespace pocket {

struct PackingRequest {
  int32_t id = 0;
  int32_t first_use = 0, last_use = 0;  // operators, both included
  int64_t bytes = 0;
};

enum class PackingOrder { execution, largest_first, longest_first };

// Ids by ascending offset of a packing that puts the requests, in the given order, each into the
// lowest gap between those alive at the same time.
std::vector<int32_t> pack_greedily(std::vector<PackingRequest> requests, PackingOrder order);

// Ids by ascending offset of the lowest packing that a beam search in order of execution finds. It
// tries both ends of every gap, so that neighbouring layers of a model may be mirror images: no
// greedy order finds those. `requests` ascend in first_use. Among paths of equal height `seed`
// decides which are followed.
std::vector<int32_t> pack_by_search(const std::vector<PackingRequest>& requests, uint64_t seed);

}  // namespace pocket
