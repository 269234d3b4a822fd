#include "converter/lower/fusion_report.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <numeric>

#include "converter/lower/layers.h"

namespace pocket {

namespace {

// Moves no data: the next operator reads the same bytes.
bool is_view(const ir::Node& node) {
  static constexpr std::array<const char*, 6> kViews = {"Reshape", "Squeeze",  "Unsqueeze",
                                                        "Flatten", "Identity", "Shape"};
  return node.domain.empty() &&
         std::any_of(kViews.begin(), kViews.end(), [&](const char* op) { return node.op == op; });
}

bool computes_tensor(const ir::Graph& graph, const ir::Node& node) {
  if (is_view(node) || node.outputs.empty()) return false;
  if (node.is("Cast") && graph.value(node.inputs[0]).type == graph.value(node.outputs[0]).type) {
    return false;  // a cast to the same type
  }
  const bool known = std::all_of(node.outputs.begin(), node.outputs.end(), [&](ir::ValueId out) {
    return out == ir::kAbsent || graph.value(out).elements.has_value();
  });
  const bool constant = std::all_of(node.inputs.begin(), node.inputs.end(), [&](ir::ValueId in) {
    return in == ir::kAbsent || graph.value(in).constant.has_value();
  });
  return !known && !constant;
}

nlohmann::json counts_json(const DispatchCounts& counts) {
  return {{"total", counts.total()},
          {"outside_layers", counts.outside_layers},
          {"per_layer", counts.per_layer}};
}

}  // namespace

int64_t DispatchCounts::total() const {
  return std::accumulate(per_layer.begin(), per_layer.end(), outside_layers);
}

DispatchCounts count_before_fusion(const ir::Graph& graph) {
  const LayerMap map = find_layers(graph);
  DispatchCounts counts;
  counts.per_layer.assign(static_cast<size_t>(map.layers), 0);
  for (const ir::NodeId id : graph.order()) {
    if (!computes_tensor(graph, graph.node(id))) continue;
    const int layer = map.layer_of[static_cast<size_t>(id)];
    if (layer >= 0 && layer < map.layers) {
      ++counts.per_layer[static_cast<size_t>(layer)];
    } else {
      ++counts.outside_layers;
    }
  }
  return counts;
}

DispatchCounts count_after_fusion(const Program& program) {
  DispatchCounts counts;
  for (const Segment& segment : program.segments) {
    const bool is_layer =
        std::any_of(program.operators.begin() + segment.first_op,
                    program.operators.begin() + segment.first_op + segment.op_count,
                    [](const Operator& op) { return op.kind == OpKind::attention; });
    if (is_layer) {
      counts.per_layer.push_back(segment.op_count);
    } else {
      counts.outside_layers += segment.op_count;
    }
  }
  return counts;
}

nlohmann::json fusion_report_json(const DispatchCounts& before, const DispatchCounts& after) {
  return {{"layers", after.per_layer.size()},
          {"before", counts_json(before)},
          {"after", counts_json(after)}};
}

}  // namespace pocket
