// Calibration of the w8a8 linears of one layer. The layer runs twice over the text: for the range of
// each input, and for what the codes then leave out and cost.
#pragma once

#include <cstdint>
#include <vector>

#include "converter/quant/journal.h"
#include "converter/quant/layer_run.h"
#include "converter/quant/sites.h"
#include "converter/quant/w8a8.h"

namespace pocket {

struct W8a8Layer {
  struct Linear {
    WeightOutcome outcome;
    std::vector<uint8_t> codes, scales;  // packed
  };
  std::vector<Linear> linears;
};

// `sites` of the layer behind the run's border, in order; all their weights are w8a8. Windows from
// `first_held_out` on measure the errors of the outputs. Throws Error(bad_input) when an activation
// or a weight is not finite.
W8a8Layer calibrate_w8a8(const std::vector<QuantWeight>& weights,
                         const std::vector<const Site*>& sites, const LayerRun& run,
                         size_t first_held_out, const W8a8Options& options, int threads);

}  // namespace pocket
