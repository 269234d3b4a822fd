// Proofs by evaluation: a value that depends on nothing but the positions of the tokens (a mask,
// positions, cosines and sines) is computed by the reference executor for several numbers of
// tokens and of cached positions, up to the model's longest context, and compared element by
// element with what it is claimed to be. A value that depends on token ids or on cached contents
// is never proven.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "converter/passes/step.h"

namespace pocket {

// value[..., t] == past + t + offset with a constant offset, which is returned.
std::optional<int64_t> prove_positions(const ir::Graph&, ir::ValueId, const ProofScope&);

// How a mask is applied: added to the scores, or a boolean that is true where attention is allowed
// or where it is forbidden. Shape [..., tokens, past + tokens] or what broadcasts to it; the
// dimensions before are those of the heads or 1.
enum class MaskKind : uint8_t { additive, allowed, forbidden };
struct MaskTerm {
  ir::ValueId value = ir::kAbsent;
  MaskKind kind = MaskKind::additive;
  double factor = 1.0;  // what an additive mask is multiplied by before the softmax
};

// What all masks of one attention say together: row t at position p = past + t sees the keys
// p - window + 1 .. p (window 0: 0 .. p), and slope[head] * (key - p) is added to its score.
struct MaskRule {
  int64_t window = 0;
  std::vector<double> slopes;  // by head, empty when all are 0
};
// none when the masks are not exactly such a rule. Terms that are constant along a row cancel in
// the softmax and are ignored (Press et al., ALiBi).
std::optional<MaskRule> prove_mask(const ir::Graph&, const std::vector<MaskTerm>&, int64_t heads,
                                   const ProofScope&);

// cos and sin of all rows of one step, [rows, pairs].
struct RotaryTables {
  std::vector<float> cosines, sines;
  int64_t rows = 0, pairs = 0;
  double c(int64_t row, int64_t pair) const { return at(cosines, row, pair); }
  double s(int64_t row, int64_t pair) const { return at(sines, row, pair); }

 private:
  double at(const std::vector<float>& table, int64_t row, int64_t pair) const {
    return static_cast<double>(table[static_cast<size_t>(row * pairs + pair)]);
  }
};
using RotaryTablesAt = std::function<std::optional<RotaryTables>(Step)>;

// The cosines are scale * cos(position * inv_freq[pair]), the sines likewise. Frequencies that
// change with the length of the text: `far_inv_freq` and `far_scale` hold for every row of a step
// whose past + tokens is at least far_from, the others below it. Tables that are no such function
// are kept as they stand: `values` holds cosines, then sines for every position.
struct RotaryAngles {
  std::vector<double> inv_freq;
  double scale = 1.0;
  std::vector<double> far_inv_freq;  // empty: the same at every length
  double far_scale = 1.0;
  int64_t far_from = 0;
  std::vector<float> values;  // [positions, 2 * pairs], empty when inv_freq tells
};
// `constants` lists values whose ancestors may hold the exact frequencies.
std::optional<RotaryAngles> prove_rotary(const ir::Graph&, const RotaryTablesAt&,
                                         const std::vector<ir::ValueId>& constants,
                                         const ProofScope&);
// The tables of one step are those of the angles.
bool agrees(const RotaryTables&, Step, const RotaryAngles&);

}  // namespace pocket
