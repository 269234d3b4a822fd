// What calibration looks for in a fused graph: which inputs of nodes are which weights, which
// linears read one and the same value (a site), and what could divide that value by scales.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "converter/ir/graph.h"
#include "converter/lower/weight_source.h"
#include "runtime/package/weight.h"

namespace pocket {

// A weight of the program.
struct QuantWeight {
  std::string name;
  WeightSource* source = nullptr;  // takes the scales of AWQ
  WeightFormat format;
  bool keeps_codes = false;  // 4-bit codes of the model's file, which stay as they are
};

// Inputs [input, input + count) of a node that hold the parts of a weight.
struct WeightUse {
  ir::NodeId node = ir::kAbsent;
  size_t input = 0, count = 0;
};

// By weight. Inputs that hold no weight of the program are in none.
std::vector<std::vector<WeightUse>> find_uses(const ir::Graph&, const std::vector<QuantWeight>&);

// The node's parts of a weight become one of `rows` rows that lies as the program stores it; the caller
// has put it at use.input.
void join_parts(ir::Node&, const WeightUse&, int64_t rows);

// The same weight as codes and what they are worth, for the reference executor (pocket_ops.h).
struct CodedWeight {
  std::vector<float> codes;   // [rows, columns]
  std::vector<float> scales;  // [rows]
  float act_scale = 0.0f;
  bool shadow = false;
};
void put_codes(ir::Graph&, const WeightUse&, CodedWeight);

// How the scales of an input are divided out by what makes it.
struct ScaleFold {
  // Rows [first, first + scales), or all columns, of a weight.
  struct Target {
    size_t weight = 0;
    bool rows = false;
    int64_t first = 0;
  };
  std::vector<int64_t> sources;  // the scale that each input column takes
  int64_t scales = 0;
  std::vector<Target> targets;
};

// Linears of one layer that read one value, and whose codes are still to be chosen.
struct Site {
  ir::ValueId input = ir::kAbsent;
  int layer = 0;
  int64_t columns = 0;
  std::vector<size_t> weights;
  std::optional<ScaleFold> fold;
};

// `layer_of` by node (lower/layers.h). In order of the graph. A matrix that several linears share
// is in no site; one that an embedding shares is, without a fold.
std::vector<Site> find_sites(const ir::Graph&, const std::vector<int>& layer_of,
                             const std::vector<QuantWeight>&,
                             const std::vector<std::vector<WeightUse>>& uses);

}  // namespace pocket
