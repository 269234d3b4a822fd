// Graphs of models that a test made, and what it asks about them.
#pragma once

#include <string>

#include "converter/onnx/import.h"
#include "test/onnx/model_builder.h"

namespace pocket::test {

inline std::string text_of(const ir::Graph& graph, const std::string& name) {
  return ir::shape_text(*graph.value(graph.find(name)).shape);
}

inline ir::Graph imported(const ModelBuilder& m, onnx_import::ImportReport* report = nullptr) {
  TemporaryFolder folder;
  m.write(folder / "model.onnx");
  return onnx_import::import_model(folder.path().string(), report);
}

inline int count_of(const ir::Graph& graph, const std::string& op) {
  int count = 0;
  for (const ir::NodeId id : graph.order()) count += graph.node(id).op == op ? 1 : 0;
  return count;
}

}  // namespace pocket::test
