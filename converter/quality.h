// What quantisation did to the whole model: the graph with the file's weights beside the graph with
// the model's own, both in 32-bit floats, on text that no calibration has read.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "converter/ir/graph.h"

namespace pocket {

struct Quality {
  // Of one window: sums over the tokens that it predicts, all but its first.
  struct Window {
    int64_t tokens = 0, agreed = 0;  // agreed: both models' likeliest tokens are the same
    double model_nll = 0.0, nll = 0.0;
    double kl = 0.0;  // divergence of the file's distribution from the model's
  };
  std::vector<Window> windows;
  Window sum() const;
};

// Throws Error(bad_input) when no window holds two tokens, and Error(wrong_result) when a logit is
// not finite. `after_window` is called in order, from one thread.
Quality measure_quality(const ir::Graph& model, const ir::Graph& file,
                        const std::vector<std::vector<int64_t>>& windows, int threads,
                        const std::function<void(size_t done)>& after_window);

}  // namespace pocket
