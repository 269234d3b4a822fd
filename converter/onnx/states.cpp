#include "converter/onnx/states.h"

#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace pocket::onnx_import {

namespace {

// What is left of a name behind the first of the prefixes that it begins with.
std::optional<std::string> rest_behind(const std::string& name,
                                       std::initializer_list<std::string_view> prefixes) {
  for (const std::string_view prefix : prefixes) {
    if (name.size() > prefix.size() && name.starts_with(prefix)) return name.substr(prefix.size());
  }
  return std::nullopt;
}

}  // namespace

int pair_states(ir::Graph& graph) {
  std::map<std::string, ir::ValueId> presents;
  for (const ir::ValueId id : graph.outputs) {
    const auto rest =
        rest_behind(graph.value(id).name, {"present_key_values", "present_key_value", "present"});
    if (rest) presents.emplace(*rest, id);
  }
  int pairs = 0;
  for (const ir::ValueId id : graph.inputs) {
    const auto rest =
        rest_behind(graph.value(id).name, {"past_key_values", "past_key_value", "past"});
    if (!rest) continue;
    const auto present = presents.find(*rest);
    if (present == presents.end()) continue;
    graph.states.push_back({id, present->second});
    ++pairs;
  }
  return pairs;
}

}  // namespace pocket::onnx_import
