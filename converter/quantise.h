// The weights of a lowered program into the file: those that linears multiply by calibrated, where
// a text is given; everything else tile by tile.
#pragma once

#include <cstdint>
#include <memory>

#include "converter/convert.h"
#include "converter/convert_report.h"
#include "converter/lower/lower.h"
#include "converter/onnx/hf_config.h"
#include "converter/package/writer.h"
#include "converter/progress.h"
#include "converter/quant/journal.h"

namespace pocket {

// What embedding and head are encoded as, a tied one once for both. Without --head-weights: as the
// matrices, but f16 with any precision, and where f16 adds at most a quarter of a bit to each weight
// of the file: there it buys more than its bytes would elsewhere (bench_results/quality/
// head-weights.md). Under --target-bits they are chosen like all others.
Encoding head_encoding(const ConvertOptions& options, const std::vector<LoweredWeight>& weights);

// Returns the state that an interrupted calibration would resume from, to be removed when the file
// is in place; null without a calibration. The sources in `lowered` take the scales of AWQ.
std::unique_ptr<Journal> quantise(const ConvertOptions& options, const ir::Graph& graph,
                                  const onnx_import::HfConfig& config, Lowered& lowered,
                                  Progress& progress, PackageWriter& writer, ConvertReport& report);

// Largest resident set of this process so far, mapped files included.
int64_t peak_memory_bytes();

}  // namespace pocket
