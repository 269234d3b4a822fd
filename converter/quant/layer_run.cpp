#include "converter/quant/layer_run.h"

#include <algorithm>
#include <set>

#include "converter/quant/parallel.h"

namespace pocket {

using ir::Node;
using ir::NodeId;
using ir::ValueId;

LayerRun::LayerRun(const ir::Graph& graph, std::vector<int> layer_of,
                   std::vector<std::vector<int64_t>> windows, int threads)
    : graph_(graph),
      layer_of_(std::move(layer_of)),
      windows_(std::move(windows)),
      threads_(threads),
      borders_(windows_.size()) {}

std::vector<ValueId> LayerRun::border_behind(int layer) const {
  std::set<ValueId> crossing;
  for (const NodeId id : graph_.order()) {
    const int own = layer_of_[static_cast<size_t>(id)];
    if (own < 0 || own > layer) continue;  // what lies outside of all layers is computed again
    for (const ValueId output : graph_.node(id).outputs) {
      if (output == ir::kAbsent) continue;
      const std::vector<NodeId> readers = graph_.consumers(output);
      if (std::any_of(readers.begin(), readers.end(), [&](NodeId reader) {
            return layer_of_[static_cast<size_t>(reader)] > layer;
          })) {
        crossing.insert(output);
      }
    }
  }
  return {crossing.begin(), crossing.end()};
}

void LayerRun::evaluate(const std::vector<ValueId>& wanted,
                        const std::function<void(size_t window, Values)>& take) const {
  const auto batch = static_cast<size_t>(std::max(threads_, 1));
  reference::ConstantCache constants;
  reference::RunOptions options;
  options.constants = &constants;
  for (size_t first = 0; first < windows_.size(); first += batch) {
    const size_t count = std::min(batch, windows_.size() - first);
    std::vector<Values> results(count);
    parallel_for(static_cast<int64_t>(count), threads_, [&](int64_t i) {
      const size_t window = first + static_cast<size_t>(i);
      reference::Feeds feeds = reference::decoder_feeds(graph_, windows_[window]);
      for (const auto& [value, tensor] : borders_[window]) feeds.emplace(value, tensor);
      results[static_cast<size_t>(i)] = reference::evaluate(graph_, feeds, wanted, options);
    });
    for (size_t i = 0; i < count; ++i) take(first + i, std::move(results[i]));
  }
}

void LayerRun::advance(int layer) {
  std::vector<Values> next(windows_.size());
  evaluate(border_behind(layer),
           [&](size_t window, Values values) { next[window] = std::move(values); });
  borders_ = std::move(next);
}

void LayerRun::replace(const WeightUse& use, int64_t rows, std::vector<float> values) {
  const auto columns = static_cast<int64_t>(values.size()) / rows;
  Node& node = graph_.node(use.node);
  originals_.try_emplace(use.node, node);
  const bool matrix = use.input >= 3 && node.domain == "pocket" &&
                      (node.op == "Linear" || node.op == "GatedLinear");
  const std::vector<int64_t> shape =
      rows == 1 && !matrix ? std::vector<int64_t>{columns} : std::vector<int64_t>{rows, columns};
  const ValueId value = graph_.add_constant(
      "calibrated", ir::TensorData::from_floats(shape, std::move(values)));
  added_.push_back(value);
  node.inputs[use.input] = value;
  if (matrix) join_parts(node, use, rows);
}

void LayerRun::restore() {
  for (auto& [id, node] : originals_) graph_.node(id) = std::move(node);
  originals_.clear();
  for (const ValueId value : added_) graph_.value(value).constant.reset();
  added_.clear();
}

bool LayerRun::divide_border(ValueId value, const std::vector<float>& factors) {
  bool found = false;
  for (Values& values : borders_) {
    const auto tensor = values.find(value);
    if (tensor == values.end()) continue;
    found = true;
    for (size_t i = 0; i < tensor->second.f.size(); ++i) {
      tensor->second.f[i] /= factors[i % factors.size()];
    }
  }
  return found;
}

}  // namespace pocket
