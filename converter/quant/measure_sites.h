// The statistics of what linears read, over the windows of a run.
#pragma once

#include <vector>

#include "converter/quant/layer_run.h"
#include "converter/quant/moments.h"

namespace pocket {

// By site. Windows from `first_held_out` on count as held out. Throws what MomentsCollector throws.
std::vector<InputStatistics> measure_sites(const std::vector<const Site*>& sites,
                                           const std::vector<QuantWeight>& weights,
                                           const LayerRun& run, size_t first_held_out, int threads);

}  // namespace pocket
