// The fused graph as a runtime program plus the list of its weights: each node of the domain
// "pocket" becomes one or two operators, graph inputs other than the ids vanish, KV states become
// tensors [context, kv_heads, head_dim] written in place.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "converter/ir/graph.h"
#include "converter/lower/weight_source.h"
#include "runtime/program/program.h"

namespace pocket {

// What a weight is used as. Quantisers encode matrix, embedding and head; positions (learned,
// looked up and added once) stay f16 and vectors f32.
enum class WeightRole : uint8_t { matrix, vector, embedding, head, positions };
const char* weight_role_name(WeightRole);

struct LoweredWeight {
  std::string name;
  std::vector<int64_t> shape;  // [N, K], or [K] for a vector
  WeightRole role = WeightRole::matrix;
  bool tied = false;  // an embedding that the head reads as well
  WeightSource source;
};

struct LowerOptions {
  int64_t max_context = 0;      // from the model's configuration; 0: taken from learned positions
  int64_t default_context = 0;  // 0: max_context, at most 4096
  int64_t default_chunk = 0;    // 0: 128, at most the context
};

// A node that no fused operator computes: it runs as generic operators.
struct UnfusedNode {
  std::string op, name;
};

struct Lowered {
  Program program;                     // planned and verified
  std::vector<UnfusedNode> unfused;    // in order
  std::vector<LoweredWeight> weights;  // parallel to program.weights
};

// Throws Error(bad_input) that lists every node that no runtime operator computes.
Lowered lower(const ir::Graph&, const LowerOptions&);

}  // namespace pocket
