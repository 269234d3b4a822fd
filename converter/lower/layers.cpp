#include "converter/lower/layers.h"

#include <algorithm>
#include <set>

namespace pocket {

namespace {

using ir::Graph;
using ir::kAbsent;
using ir::Node;
using ir::NodeId;
using ir::ValueId;

constexpr int kNoLevel = -1;

// Levels count the states that a value has passed: layer l reads its state at level l and works on
// at level l + 1. Only values that depend on the contents of the ids have a level.
class Finder {
 public:
  explicit Finder(const Graph& graph)
      : graph_(graph), order_(graph.order()), level_(graph.node_count(), kNoLevel) {
    for (const ir::StatePair& state : graph.states) pasts_.insert(state.past);
    compute_levels();
  }

  LayerMap find() {
    LayerMap map;
    map.layers = deepest_;
    map.layer_of.assign(graph_.node_count(), LayerMap::kOutside);
    if (deepest_ == 0) return map;
    for (int level = 0; level <= deepest_; ++level) {
      const std::vector<bool> before = ancestors(boundary(level));
      for (const NodeId id : order_) {
        if (level_of(id) == level) {
          map.layer_of[at(id)] = before[at(id)] ? level - 1 : level;
        }
      }
    }
    adopt_private_nodes(map);
    return map;
  }

 private:
  static size_t at(NodeId id) { return static_cast<size_t>(id); }
  int level_of(NodeId id) const { return id == kAbsent ? kNoLevel : level_[at(id)]; }
  NodeId maker(ValueId value) const {
    return value == kAbsent ? kAbsent : graph_.value(value).producer;
  }
  int level_of_value(ValueId value) const { return level_of(maker(value)); }
  bool reads_state(const Node& node) const {
    return std::any_of(node.inputs.begin(), node.inputs.end(),
                       [this](ValueId input) { return pasts_.contains(input); });
  }

  void compute_levels() {
    std::set<ValueId> ids;
    for (const ValueId input : graph_.inputs) {
      if (graph_.value(input).name == "input_ids") ids.insert(input);
    }
    for (const NodeId id : order_) {
      const Node& node = graph_.node(id);
      if (node.is("Shape")) continue;
      int level = kNoLevel;
      for (const ValueId input : node.inputs) {
        if (input == kAbsent) continue;
        level = std::max(level, ids.contains(input) ? 0 : level_of_value(input));
      }
      if (level != kNoLevel && reads_state(node)) ++level;
      level_[at(id)] = level;
      deepest_ = std::max(deepest_, level);
    }
  }

  // The node that makes the residual stream before layer `level`, or before the head.
  NodeId boundary(int level) const {
    if (level == deepest_) return head_boundary();
    for (const NodeId id : order_) {
      if (level_of(id) != level) continue;
      for (const ValueId output : graph_.node(id).outputs) {
        if (output != kAbsent && meets_attention(output, level)) return id;
      }
    }
    return kAbsent;
  }

  // Read by a node together with a value from behind the layer's state.
  bool meets_attention(ValueId value, int level) const {
    for (const NodeId reader : graph_.consumers(value)) {
      const Node& node = graph_.node(reader);
      if (level_of(reader) != level + 1 || reads_state(node)) continue;
      if (std::any_of(node.inputs.begin(), node.inputs.end(), [&](ValueId input) {
            return input != kAbsent && level_of_value(input) == level + 1;
          })) {
        return true;
      }
    }
    return false;
  }

  // What the head selects its rows from, else the last sum of two streams before the logits.
  NodeId head_boundary() const {
    NodeId last_sum = kAbsent;
    for (const NodeId id : order_) {
      const Node& node = graph_.node(id);
      if (node.is("SelectRows", "pocket")) return maker(node.inputs[0]);
      if (node.is("Add") && level_of(id) == deepest_ &&
          level_of_value(node.inputs[0]) != kNoLevel &&
          level_of_value(node.inputs[1]) != kNoLevel) {
        last_sum = id;
      }
    }
    return last_sum;
  }

  std::vector<bool> ancestors(NodeId from) const {
    std::vector<bool> found(graph_.node_count(), false);
    std::vector<NodeId> work;
    const auto visit = [&](NodeId id) {
      if (id == kAbsent || found[at(id)]) return;
      found[at(id)] = true;
      work.push_back(id);
    };
    visit(from);
    while (!work.empty()) {
      const NodeId id = work.back();
      work.pop_back();
      for (const ValueId input : graph_.node(id).inputs) visit(maker(input));
    }
    return found;
  }

  // A mask or constant that only one layer reads is that layer's work.
  void adopt_private_nodes(LayerMap& map) const {
    for (auto id = order_.rbegin(); id != order_.rend(); ++id) {
      if (level_of(*id) != kNoLevel) continue;
      std::set<int> readers;
      for (const ValueId output : graph_.node(*id).outputs) {
        if (output == kAbsent) continue;
        for (const NodeId reader : graph_.consumers(output))
          readers.insert(map.layer_of[at(reader)]);
        if (graph_.is_output(output)) readers.insert(LayerMap::kOutside);
      }
      if (readers.size() == 1) map.layer_of[at(*id)] = *readers.begin();
    }
  }

  const Graph& graph_;
  const std::vector<NodeId> order_;
  std::vector<int> level_;
  std::set<ValueId> pasts_;
  int deepest_ = 0;
};

}  // namespace

LayerMap find_layers(const Graph& graph) { return Finder(graph).find(); }

}  // namespace pocket
