// Proofs by evaluation: a value that depends on nothing but the positions of the tokens (a mask,
// positions, cosines and sines) is computed by the reference executor for several numbers of
// tokens and of cached positions, up to the model's longest context, and compared element by
// element with what it is claimed to be. A value that depends on token ids or on cached contents
// is never proven.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "converter/ir/graph.h"
#include "converter/reference/host_tensor.h"

namespace pocket {

// The interface of a decoder graph; kAbsent where the export has no such input.
struct GraphInterface {
  ir::ValueId ids = ir::kAbsent;
  ir::ValueId attention_mask = ir::kAbsent;
  ir::ValueId positions = ir::kAbsent;
};
GraphInterface find_interface(const ir::Graph&);

// A step: `tokens` new rows behind `past` cached ones, attention mask all ones.
struct Step {
  int64_t tokens = 1;
  int64_t past = 0;
};

// True when a value depends on neither ids nor the contents of a state (their shapes are free).
bool depends_on_positions_only(const ir::Graph&, ir::ValueId);

// Computes values that depend on positions only, for given steps. The graph must outlive it.
class StepEvaluator {
 public:
  // none unless all values depend on positions only.
  static std::optional<StepEvaluator> create(const ir::Graph&, std::vector<ir::ValueId> values);
  // In the order of `values`; none when the executor refuses the step.
  std::optional<std::vector<reference::HostTensor>> at(Step) const;

 private:
  const ir::Graph* graph_ = nullptr;
  std::vector<ir::ValueId> values_;
  std::vector<ir::ValueId> inputs_;  // graph inputs that are read, for their shape at least
};

// The steps at which masks and positions are compared, the longest ends at max_context.
std::vector<Step> proof_steps(int64_t max_context);

// value[..., t] == past + t + offset with a constant offset, which is returned.
std::optional<int64_t> prove_positions(const ir::Graph&, ir::ValueId, int64_t max_context);

// How a mask is applied: added to the scores, or a boolean that is true where attention is allowed
// or where it is forbidden. Shape [..., tokens, past + tokens] with leading dimensions of 1.
enum class MaskKind : uint8_t { additive, allowed, forbidden };
enum class MaskProof : uint8_t {
  causal,  // column <= past + row is allowed (0), the rest forbidden (at most -1e4)
  open,    // everything is allowed
  other,   // neither, or not provable
};
MaskProof prove_mask(const ir::Graph&, ir::ValueId mask, MaskKind, int64_t max_context);

// cos[..., t, i] = scale * cos((past + t) * inv_freq[i']), sin likewise, last dimension 2n with
// i' = i mod n (halves) or i / 2 (interleaved), or n with i' = i.
struct RotaryAngles {
  std::vector<double> inv_freq;  // n values
  double scale = 1.0;
  enum class Layout : uint8_t { halves, interleaved, single } layout = Layout::halves;
};
std::optional<RotaryAngles> prove_rotary(const ir::Graph&, ir::ValueId cosines, ir::ValueId sines,
                                         int64_t max_context);

}  // namespace pocket
