// What each format that a weight may take costs its linears: the squared error of the output,
// relative to the output, of codes rounded to nearest. Before any weight is chosen, so on what the
// model itself computes.
#pragma once

#include <functional>
#include <vector>

#include "converter/ir/graph.h"
#include "converter/quant/calibration_text.h"
#include "converter/quant/sites.h"

namespace pocket {

// By weight and candidate. With windows, on the second moments of the linear's inputs,
// tr(E M E^T) / tr(W M W^T); without them, and for a weight that no single linear multiplies by,
// |E|^2 / |W|^2. A weight with one candidate is not measured: 0. `after_layer` as in calibrate.h.
// Throws Error(bad_input) when an activation or a weight is not finite.
std::vector<std::vector<double>> candidate_errors(
    const ir::Graph& graph, const std::vector<int>& layer_of, int layers,
    const std::vector<QuantWeight>& weights,
    const std::vector<std::vector<WeightFormat>>& candidates, const CalibrationWindows* windows,
    int threads, const std::function<void(int done, int total)>& after_layer);

}  // namespace pocket
