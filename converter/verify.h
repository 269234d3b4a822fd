// --verify: does the finished file compute what the model computes? Two comparisons on fixed
// pseudo-random tokens meet in the rewritten graph:
//   model, float  ==  rewritten graph, float                    (the passes changed nothing)
//   rewritten graph with the file's decoded weights  ==  file   (lowering and packing are right)
// so quantisation error, which is reported, hides no mistake.
#pragma once

#include <string>
#include <vector>

#include "converter/ir/graph.h"

namespace pocket {

struct LoweredWeight;  // converter/lower/lower.h

struct VerifyResult {
  int64_t tokens = 0;
  double passes_error = 0.0;  // relative L2 of all logits
  double file_error = 0.0;
  double quantised_error = 0.0;  // file against the model's own weights: for information

  double passes_tolerance = 1e-4;  // 5e-3 for a model that computes in f16
  double file_tolerance = 5e-3;    // f16 states
  bool passed() const { return passes_error <= passes_tolerance && file_error <= file_tolerance; }
};

// `imported` as the model came, `rewritten` after the passes, `path` the finished file. The
// rewritten graph's weights are replaced by the file's in 32-bit floats, in memory.
VerifyResult verify_conversion(const ir::Graph& imported, const ir::Graph& rewritten,
                               const std::vector<LoweredWeight>& weights, const std::string& path);

}  // namespace pocket
