#include "converter/onnx/states.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "converter/shape/infer.h"

namespace pocket::onnx_import {

using ir::kAbsent;
using ir::Node;
using ir::NodeId;
using ir::ValueId;

namespace {

// What is left of a name behind the first of the prefixes that it begins with.
std::optional<std::string> rest_behind(const std::string& name,
                                       std::initializer_list<std::string_view> prefixes) {
  for (const std::string_view prefix : prefixes) {
    if (name.size() > prefix.size() && name.starts_with(prefix)) return name.substr(prefix.size());
  }
  return std::nullopt;
}

std::optional<std::string> past_rest(const std::string& name) {
  return rest_behind(name, {"past_key_values", "past_key_value", "past"});
}

// The present that a node makes of a past that it reads, if any.
ValueId present_of(const Node& node, ValueId past) {
  const auto reads = [&](size_t index) {
    return index < node.inputs.size() && node.inputs[index] == past;
  };
  const auto output = [&](size_t index) {
    return index < node.outputs.size() ? node.outputs[index] : kAbsent;
  };
  if (node.op == "Concat") return output(0);
  if (node.is("GroupQueryAttention", "com.microsoft")) {
    return reads(3) ? output(1) : reads(4) ? output(2) : kAbsent;
  }
  if (node.is("MultiHeadAttention", "com.microsoft")) {
    return reads(6) ? output(1) : reads(7) ? output(2) : kAbsent;
  }
  if (node.is("Attention", "com.microsoft")) return reads(4) ? output(1) : kAbsent;
  if (node.is("Attention")) return reads(4) ? output(1) : reads(5) ? output(2) : kAbsent;
  return kAbsent;
}

// Follows what appends to a past and what only renames, to an output of the graph.
ValueId appended_output(const ir::Graph& graph, ValueId past, bool appended = false,
                        int depth = 0) {
  if (depth > 4) return kAbsent;
  for (const NodeId id : graph.consumers(past)) {
    const Node& node = graph.node(id);
    const bool renames = node.is("Identity") || node.is("Cast");
    const ValueId next = renames ? node.outputs[0] : present_of(node, past);
    if (next == kAbsent) continue;
    if (graph.is_output(next) && (appended || !renames)) return next;
    const ValueId found = appended_output(graph, next, appended || !renames, depth + 1);
    if (found != kAbsent) return found;
  }
  return kAbsent;
}

}  // namespace

bool names_past(const std::string& input_name) { return past_rest(input_name).has_value(); }

int pair_states(ir::Graph& graph) {
  std::map<std::string, ValueId> presents;
  for (const ValueId id : graph.outputs) {
    const auto rest =
        rest_behind(graph.value(id).name, {"present_key_values", "present_key_value", "present"});
    if (rest) presents.emplace(*rest, id);
  }
  std::set<ValueId> taken;
  std::vector<ValueId> open;
  for (const ValueId id : graph.inputs) {
    const auto rest = past_rest(graph.value(id).name);
    const auto present = rest ? presents.find(*rest) : presents.end();
    if (present != presents.end() && taken.insert(present->second).second) {
      graph.states.push_back({id, present->second});
    } else {
      open.push_back(id);
    }
  }
  for (const ValueId id : open) {
    const ir::Value& input = graph.value(id);
    if (!ir::is_float_type(input.type) || !input.shape || input.shape->size() < 3) continue;
    const ValueId present = appended_output(graph, id);
    if (present != kAbsent && taken.insert(present).second) graph.states.push_back({id, present});
  }
  return static_cast<int>(graph.states.size());
}

void settle_states(ir::Graph& graph) {
  const auto open_symbol = [](const Expr& dim) -> std::optional<std::string> {
    const std::vector<std::string> symbols = dim.symbols();
    if (symbols.size() != 1 || !(dim == Expr::symbol(symbols[0])) || symbols[0] == "past" ||
        symbols[0] == "tokens") {
      return std::nullopt;
    }
    return symbols[0];
  };
  std::set<std::string> open;
  for (const ir::StatePair& state : graph.states) {
    const auto& shape = graph.value(state.past).shape;
    if (!shape) continue;
    for (const Expr& dim : *shape) {
      if (const auto symbol = open_symbol(dim)) open.insert(*symbol);
    }
  }
  if (open.empty()) return;
  ir::Graph inferred = graph;
  shape::infer_shapes(inferred);
  std::map<std::string, Expr> found;
  for (const ir::StatePair& state : graph.states) {
    const auto& past = graph.value(state.past).shape;
    const auto& present = inferred.value(state.present).shape;
    if (!past || !present || past->size() != present->size()) continue;
    for (size_t d = 0; d < past->size(); ++d) {
      const auto symbol = open_symbol((*past)[d]);
      if (symbol && (*present)[d].is_constant()) found.emplace(*symbol, (*present)[d]);
    }
  }
  for (const ValueId id : graph.inputs) {
    auto& shape = graph.value(id).shape;
    if (!shape) continue;
    for (Expr& dim : *shape) {
      for (const auto& [symbol, value] : found) dim = dim.substitute(symbol, value);
    }
  }
  for (const auto& [symbol, value] : found) graph.symbols.erase(symbol);
}

int unpack_states(ir::Graph& graph) {
  std::vector<ir::StatePair> states;
  int count = 0;
  const auto scalar = [&](int64_t value) {
    return graph.add_constant("half", ir::TensorData::from_integers({}, {value}));
  };
  for (const ir::StatePair& state : graph.states) {
    const auto shape = graph.value(state.past).shape;
    if (!shape || shape->size() != 5 || !((*shape)[0] == Expr(2)) || state.present == kAbsent) {
      states.push_back(state);
      continue;
    }
    ++count;
    const std::string name = graph.value(state.past).name;
    ir::StatePair halves[2];
    Node pack;
    pack.name = name + "/pack";
    pack.op = "Concat";
    pack.attributes["axis"] = int64_t{0};
    for (int64_t k = 0; k < 2; ++k) {
      ir::Value half;
      half.name = name + (k == 0 ? ".key" : ".value");
      half.type = graph.value(state.past).type;
      half.shape.emplace(shape->begin() + 1, shape->end());
      halves[k].past = graph.add_value(std::move(half));
      Node wide;
      wide.name = name + "/widen";
      wide.op = "Unsqueeze";
      wide.inputs = {halves[k].past,
                     graph.add_constant("axis", ir::TensorData::from_integers({1}, {0}))};
      pack.inputs.push_back(graph.add_output(graph.add_node(std::move(wide)), name + "/wide",
                                             graph.value(state.past).type));
    }
    const ir::ElementType type = graph.value(state.past).type;
    const ValueId packed =
        graph.add_output(graph.add_node(std::move(pack)), name + "/packed", type);
    const auto at = std::find(graph.inputs.begin(), graph.inputs.end(), state.past);
    const auto input = graph.inputs.erase(at);
    graph.inputs.insert(input, {halves[0].past, halves[1].past});
    graph.replace_uses(state.past, packed);
    const auto place = std::find(graph.outputs.begin(), graph.outputs.end(), state.present);
    const auto index = place - graph.outputs.begin();
    graph.outputs.erase(place);
    for (int64_t k = 0; k < 2; ++k) {
      Node take;
      take.name = name + "/take";
      take.op = "Gather";
      take.attributes["axis"] = int64_t{0};
      take.inputs = {state.present, scalar(k)};
      halves[k].present =
          graph.add_output(graph.add_node(std::move(take)),
                           graph.value(state.present).name + (k == 0 ? ".key" : ".value"), type);
      graph.outputs.insert(graph.outputs.begin() + index + k, halves[k].present);
      states.push_back(halves[k]);
    }
  }
  graph.states = std::move(states);
  return count;
}

}  // namespace pocket::onnx_import
