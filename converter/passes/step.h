// Evaluation of parts of a decoder graph at chosen steps. A step is `tokens` new rows behind `past`
// cached ones, with an attention mask of ones and positions that count on: what a value computes
// there is what it computes in use, as long as it depends on nothing but positions and on the
// values that the caller feeds.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "converter/ir/graph.h"
#include "converter/reference/executor.h"

namespace pocket {

// The interface of a decoder graph; kAbsent where the export has no such input.
struct GraphInterface {
  ir::ValueId ids = ir::kAbsent;
  ir::ValueId attention_mask = ir::kAbsent;
  ir::ValueId positions = ir::kAbsent;
};
GraphInterface find_interface(const ir::Graph&);

struct Step {
  int64_t tokens = 1;
  int64_t past = 0;
};

// How far proofs by evaluation reach.
struct ProofScope {
  int64_t max_context = 0;  // positions; 0: 4096
  bool stateless = false;   // the export keeps no states: only steps without a past can be computed
  int64_t positions() const;
};

// The steps at which values are compared, the longest ends at the last position of the scope.
std::vector<Step> proof_steps(const ProofScope&);

// By value id: true when a value depends on neither ids nor the contents of a state (shapes are
// free).
std::vector<bool> position_only_values(const ir::Graph&);
bool depends_on_positions_only(const ir::Graph&, ir::ValueId);

class StepEvaluator {
 public:
  // `values` may depend on positions and on the values in `given`, which at() is fed; none when
  // they depend on more. The graph must outlive the evaluator.
  static std::optional<StepEvaluator> create(const ir::Graph&, std::vector<ir::ValueId> values,
                                             const std::vector<ir::ValueId>& given = {});
  // In the order of `values`; none when the executor refuses the step.
  std::optional<std::vector<reference::HostTensor>> at(
      Step, const reference::Feeds& given = {},
      const reference::Registry* registry = nullptr) const;

 private:
  const ir::Graph* graph_ = nullptr;
  std::vector<ir::ValueId> values_;
  std::vector<ir::ValueId> inputs_;  // graph inputs that are read, for their shape at least
};

// The concrete shape of a value at a step; none when it has symbols besides tokens and past.
std::optional<std::vector<int64_t>> shape_at(const ir::Graph&, ir::ValueId, Step);

}  // namespace pocket
