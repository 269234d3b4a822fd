// Real exports with a block put in the place of another, written as a file of exact weights.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "converter/ir/graph.h"
#include "converter/lower/lower.h"

namespace pocket::test {

// A node with one output.
ir::ValueId add_node(ir::Graph&, const std::string& op, std::vector<ir::ValueId> inputs,
                     const std::string& domain = "");

// Readers of the value of this name read `make(value)` instead.
void replace_value(ir::Graph&, const std::string& name,
                   const std::function<ir::ValueId(ir::ValueId)>& make);

// Matrices in f32, so that only the f16 tensors of the fused operators round.
void write_f32(const Lowered&, const std::string& path);

// Relative L2 distance; infinity when lengths differ or a number is none.
double distance(const std::vector<float>& actual, const std::vector<float>& expected);

}  // namespace pocket::test
