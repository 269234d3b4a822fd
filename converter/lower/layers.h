// Which layer of a decoder each node belongs to, found from the flow of data alone: a layer begins
// at the residual stream that its attention's result is added to.
#pragma once

#include <vector>

#include "converter/ir/graph.h"

namespace pocket {

struct LayerMap {
  static constexpr int kOutside = -1;  // embedding, masks, tables that several layers share
  int layers = 0;                      // attention blocks one behind the other
  std::vector<int> layer_of;           // by node id: kOutside, 0 .. layers - 1, or `layers` (head)
};

// Works on imported and on fused graphs; dead nodes are outside.
LayerMap find_layers(const ir::Graph&);

}  // namespace pocket
