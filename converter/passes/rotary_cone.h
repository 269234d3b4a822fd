// A rotation of heads by their positions, found however it is written: a small cone of operators
// between a value and one of the same shape that is linear in it and otherwise reads only what
// depends on positions. The layout and the tables of cosines and sines are read off the cone by
// evaluating it.
#pragma once

#include <optional>
#include <vector>

#include "converter/passes/prove.h"

namespace pocket {

struct RotaryCone {
  ir::ValueId x = ir::kAbsent, out = ir::kAbsent;
  size_t sequence_axis = 0;
  std::vector<ir::ValueId> tables;  // the position-only values that it reads, sorted
};
// `position_only`: see step.h. The largest cone that ends in `out`; it is only possibly a rotation.
std::optional<RotaryCone> find_rotary_cone(const ir::Graph&, ir::ValueId out,
                                           const std::vector<bool>& position_only);

struct RotaryLayout {
  int64_t rotary_dim = 0;    // leading elements of the last axis that turn
  bool interleaved = false;  // pairs (2i, 2i + 1), else (i, i + rotary_dim / 2)
};
// none when the cone is no rotation of such pairs, the same in every head.
std::optional<RotaryLayout> rotary_layout(const ir::Graph&, const RotaryCone&, const ProofScope&);

// The tables that the cone turns by; none where it does something else.
RotaryTablesAt rotary_tables(const ir::Graph&, const RotaryCone&, const RotaryLayout&);

}  // namespace pocket
