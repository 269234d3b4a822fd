// Calibrated quantisation: the model runs over the windows layer by layer; each layer's linears are
// measured on what the rounded layers before them compute, rounded, and the layer then computes its
// own outputs with the rounded weights. Memory holds the statistics of one layer and the values at
// one border.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "converter/ir/graph.h"
#include "converter/quant/calibration_text.h"
#include "converter/quant/journal.h"
#include "converter/quant/sites.h"

namespace pocket {

struct CalibrationOptions {
  bool awq = true;   // scales folded into the operator before; alone also the clip search
  bool gptq = true;  // else codes are the nearest
  bool act_order = false;
  bool clip = true;  // of rounding to nearest
  W8a8Options w8a8;
  int threads = 2;
  std::string state_folder;  // for resuming; see journal.h
};

struct Calibrated {
  std::unique_ptr<Journal> journal;     // the packed sections of the weights that it holds
  std::vector<WeightOutcome> outcomes;  // of those weights
  int resumed_layers = 0;               // that an earlier run had finished
};

// Chooses the codes of every weight of 4 bits, any precision or w8a8 that linears of the graph
// multiply by; any precision takes the inputs' mean squares and w8a8 their ranges, and none of the
// algorithms. Other weights (an
// embedding of its own, codes from the model's file) are left to encode_weight(). The sources of
// `weights` take the scales of AWQ, so whatever is read from them afterwards fits the codes.
// `after_layer` hears of each finished layer, the head last. Throws Error(bad_input) when an
// activation or a weight is not finite.
Calibrated calibrate(const ir::Graph& graph, const std::vector<int>& layer_of, int layers,
                     const std::vector<QuantWeight>& weights, const CalibrationWindows& windows,
                     const CalibrationOptions& options,
                     const std::function<void(int done, int total)>& after_layer);

}  // namespace pocket
