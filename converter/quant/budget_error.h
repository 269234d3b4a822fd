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

// By weight and candidate, to be added up: the mean over the rows of e M e^T / w M w^T, where w is
// a row, e what rounding adds to it and M the second moments of its input. Row by row, because a
// merged matrix has outputs of different sizes. Without windows, and for a weight that no single
// linear multiplies by, of |e|^2 / |w|^2. What the head loses the logits lose; a linear of a layer
// moves one of the 2 * layers + 1 parts that the stream behind the last layer is the sum of, so the
// head counts that many times. A table that it shares with the embedding has |e|^2 / |w|^2 of the
// embedding beside that. A weight with one candidate is not measured: 0. `after_layer` as in
// calibrate.h. Throws Error(bad_input) when an activation or a weight is not finite.
std::vector<std::vector<double>> candidate_errors(
    const ir::Graph& graph, const std::vector<int>& layer_of, int layers,
    const std::vector<QuantWeight>& weights,
    const std::vector<std::vector<WeightFormat>>& candidates, const CalibrationWindows* windows,
    int threads, const std::function<void(int done, int total)>& after_layer);

}  // namespace pocket
