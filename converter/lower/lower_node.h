// How one node of a fused graph becomes operators of the program.
#pragma once

#include <set>

#include "converter/ir/graph.h"
#include "converter/lower/program_builder.h"

namespace pocket {

// What lower() knows about the whole graph when it lowers a node.
struct NodeContext {
  const ir::Graph& graph;
  std::set<ir::ValueId> wide;  // values of the residual stream, kept in f32
  std::set<ir::NodeId> head;   // nodes that work on the selected rows
  ir::ValueId logits = ir::kAbsent;
};

// Values that are added to or are the sum of a residual stream.
std::set<ir::ValueId> residual_values(const ir::Graph&);

// The operands of a node that are computed at run time: neither constants nor what the runtime
// knows itself (ids, positions, states).
std::vector<ir::ValueId> runtime_operands(const ir::Graph&, const ir::Node&);

// Adds the node's operators; false when no runtime operator computes it. Operands that lack a
// tensor, because what makes them was refused, become absent inputs.
bool lower_node(const NodeContext&, ir::NodeId, ProgramBuilder&);

}  // namespace pocket
