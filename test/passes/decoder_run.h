// Runs a decoder graph with the reference executor before and after rewrites and compares.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "converter/ir/graph.h"
#include "converter/reference/executor.h"

namespace pocket::test {

// A real export, imported and with inferred shapes.
struct Model {
  ir::Graph graph;
  int64_t context = 0;
};
// `change` sees the imported graph before its shapes are inferred; may be empty.
Model load_model(const std::string& folder,  // below models/
                 const std::function<void(ir::Graph&)>& change = {});

// The real exports that the passes are proven on.
const std::vector<std::string>& model_names();

// All outputs (in the order of graph.outputs) of a prompt with empty states, then those of three
// more tokens behind it.
std::vector<reference::HostTensor> two_steps(const ir::Graph&);

// Largest relative L2 distance over the pairs; infinity when shapes differ.
double worst_distance(const std::vector<reference::HostTensor>&,
                      const std::vector<reference::HostTensor>&);

}  // namespace pocket::test
