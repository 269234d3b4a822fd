// Runs a model over many windows of tokens layer by layer: of each window only what crosses the
// border of two layers is kept, so memory does not grow with the depth of the model.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <vector>

#include "converter/ir/graph.h"
#include "converter/quant/sites.h"
#include "converter/reference/executor.h"

namespace pocket {

class LayerRun {
 public:
  using Values = std::map<ir::ValueId, reference::HostTensor>;

  // `layer_of` by node as find_layers() gives it.
  LayerRun(const ir::Graph& graph, std::vector<int> layer_of,
           std::vector<std::vector<int64_t>> windows, int threads);

  // Computes values behind the last border for each window, some windows at a time on their own
  // threads; `take` sees them in order, from one thread.
  void evaluate(const std::vector<ir::ValueId>& wanted,
                const std::function<void(size_t window, Values)>& take) const;
  // What layers up to `layer` compute for those behind it.
  std::vector<ir::ValueId> border_behind(int layer) const;
  // Moves the border: everything in front of it is forgotten.
  void advance(int layer);

  // The weight that a node reads from now on; `values` are the rows of the matrix, or the vector.
  void replace(const WeightUse& use, int64_t rows, std::vector<float> values);
  // Every replaced weight is the model's own again.
  void restore();
  // Divides a value that lies at the border by one factor a column; true when it lies there.
  bool divide_border(ir::ValueId value, const std::vector<float>& factors);

  std::vector<Values>& borders() { return borders_; }  // by window; for saving and resuming
  const std::vector<std::vector<int64_t>>& windows() const { return windows_; }

 private:
  ir::Graph graph_;
  std::vector<int> layer_of_;
  std::vector<std::vector<int64_t>> windows_;
  int threads_;
  std::vector<Values> borders_;
  std::map<ir::NodeId, ir::Node> originals_;
  std::vector<ir::ValueId> added_;
};

}  // namespace pocket
