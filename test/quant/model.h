// Models for tests of whole-model quantisation.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "converter/lower/layers.h"
#include "converter/lower/lower.h"
#include "converter/onnx/import.h"
#include "converter/passes/passes.h"
#include "converter/quant/calibrate.h"
#include "converter/shape/infer.h"

namespace pocket::test {

struct Model {
  ir::Graph graph;
  Lowered lowered;
  LayerMap layers;
  std::vector<QuantWeight> weights;
};

// The model FOLDER/NAME as llmconvert has it when it quantises; `change` sees the graph before
// lowering.
inline Model load(const std::string& name, Encoding encoding = Encoding::m0e4, int64_t group = 32,
                  const std::string& folder = std::string(POCKET_SOURCE_DIR) + "/models",
                  const std::function<void(ir::Graph&)>& change = {}) {
  Model model;
  onnx_import::ImportReport report;
  model.graph = onnx_import::import_model(folder + "/" + name, &report);
  shape::infer_shapes(model.graph);
  PassOptions passes;
  passes.max_context = report.context;
  run_passes(model.graph, passes);
  if (change) change(model.graph);
  LowerOptions options;
  options.max_context = report.context;
  model.lowered = lower(model.graph, options);
  model.layers = find_layers(model.graph);
  for (LoweredWeight& weight : model.lowered.weights) {
    WeightFormat format;
    format.rows = weight.source.rows();
    format.columns = weight.source.columns();
    const bool product = weight.role == WeightRole::matrix;
    if (encoding == Encoding::w8a8) {
      if (product) format.encoding = encoding;
    } else if (weight.role != WeightRole::vector && weight.role != WeightRole::positions) {
      format.encoding = encoding;
      format.group = group;
    }
    model.weights.push_back({weight.name, &weight.source, format, false});
  }
  return model;
}

// Windows of ids without sense; the last is held out.
inline CalibrationWindows some_windows(int64_t vocab, size_t count = 5, int64_t length = 24) {
  CalibrationWindows windows;
  uint64_t state = 5;
  for (size_t i = 0; i < count; ++i) {
    windows.windows.emplace_back();
    for (int64_t t = 0; t < length; ++t) {
      state = state * 6364136223846793005ull + 1442695040888963407ull;
      windows.windows.back().push_back(
          static_cast<int64_t>((state >> 33) % static_cast<uint64_t>(vocab)));
    }
    windows.tokens += length;
  }
  windows.held_out = count > 1 ? 1 : 0;
  return windows;
}

}  // namespace pocket::test
