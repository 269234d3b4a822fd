// The formats of a model's weights under --target-bits: matrices, embedding and head may differ in
// group size, and take f16 where that pays (quant/budget.h).
#pragma once

#include <vector>

#include "converter/convert.h"
#include "converter/convert_report.h"
#include "converter/lower/layers.h"
#include "converter/lower/lower.h"
#include "converter/progress.h"
#include "converter/quant/calibration_text.h"
#include "converter/quant/sites.h"

namespace pocket {

// `weights` with the formats that they would have without a budget; those whose codes stay, and
// those that are not 4-bit, keep them. `windows` may be null. Writes report.budget. Throws
// Error(usage) naming the least bits there are when the budget is below.
std::vector<WeightFormat> budget_formats(const ConvertOptions& options, const ir::Graph& graph,
                                         const LayerMap& layers, const Lowered& lowered,
                                         const std::vector<QuantWeight>& weights,
                                         const CalibrationWindows* windows, int threads,
                                         Progress& progress, ConvertReport& report);

}  // namespace pocket
