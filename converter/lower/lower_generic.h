// Nodes that no fused operator computes become generic operators (runtime/program/generic.h): plain
// loops over strided views whose extents are exact at run time. Shape arithmetic needs no operator:
// elements known in symbols, the attention mask and the positions are linear forms of the step.
#pragma once

#include "converter/ir/graph.h"
#include "converter/lower/lower_node.h"
#include "converter/lower/program_builder.h"

namespace pocket {

// Adds what computes the node; false when there is no generic form of it, or when its meaning is
// not proven (a slice that may be clamped, a state that is not appended to). Throws
// Error(bad_input), naming the node, for sizes that kernels cannot evaluate and for constants
// beyond 32 bits. Views (transpositions, slices, broadcasts) cost no operator unless a fused
// operator reads them.
bool lower_generic(const NodeContext&, ir::NodeId, ProgramBuilder&);

}  // namespace pocket
