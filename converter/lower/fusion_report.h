// Dispatches per layer before and after fusion: the numbers of README's table.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "converter/ir/graph.h"
#include "runtime/program/program.h"

namespace pocket {

// Counts of one graph, split at the residual boundaries between attention blocks.
struct DispatchCounts {
  int64_t outside_layers = 0;  // embedding, masks, rotary tables, head
  std::vector<int64_t> per_layer;
  int64_t total() const;
};

// Nodes that compute tensors (values not known in symbols): each would be one dispatch. Views
// (Reshape, Squeeze, Unsqueeze, Flatten, Identity, Cast to the same type) are not counted. Call it
// after shape inference and before the passes.
DispatchCounts count_before_fusion(const ir::Graph&);
// Operators of the program, by segment.
DispatchCounts count_after_fusion(const Program&);

// {"layers": n, "before": {"total", "outside_layers", "per_layer"}, "after": {...}}
nlohmann::json fusion_report_json(const DispatchCounts& before, const DispatchCounts& after);

}  // namespace pocket
