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

// Returns the state that an interrupted calibration would resume from, to be removed when the file
// is in place; null without a calibration. The sources in `lowered` take the scales of AWQ.
std::unique_ptr<Journal> quantise(const ConvertOptions& options, const ir::Graph& graph,
                                  const onnx_import::HfConfig& config, Lowered& lowered,
                                  Progress& progress, PackageWriter& writer, ConvertReport& report);

// Largest resident set of this process so far, mapped files included.
int64_t peak_memory_bytes();

}  // namespace pocket
