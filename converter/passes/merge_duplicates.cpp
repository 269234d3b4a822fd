// Before: x -> Slice -> a (layer 0)     After: x -> Slice -> a (all layers)
//         x -> Slice -> b (layer 1)
// Exporters repeat masks, rotary tables and transposed constants in every layer.
#include <string>
#include <unordered_map>

#include "converter/passes/match.h"
#include "converter/passes/rewrites.h"

namespace pocket {

using ir::Graph;
using ir::kAbsent;
using ir::Node;
using ir::ValueId;

namespace {

constexpr size_t kComparedBytes = 4096;  // larger constants are told apart by their identity

std::string bytes_of(const ir::TensorData& data) {
  std::string text = std::string(ir::element_name(data.type)) + "[";
  for (const int64_t dim : data.shape) text += std::to_string(dim) + ",";
  return text + "]" + std::string(reinterpret_cast<const char*>(data.bytes), data.byte_size);
}

template <typename T>
std::string listed(const std::vector<T>& items) {
  std::string text = "{";
  for (const T& item : items) {
    if constexpr (std::is_same_v<T, std::string>) {
      text += std::to_string(item.size()) + ":" + item + ",";
    } else if constexpr (std::is_same_v<T, float>) {
      text += std::to_string(std::bit_cast<uint32_t>(item)) + ",";
    } else {
      text += std::to_string(item) + ",";
    }
  }
  return text + "}";
}

std::string attribute_key(const ir::Attribute& attribute) {
  struct Visitor {
    std::string operator()(int64_t x) const { return "i" + std::to_string(x); }
    std::string operator()(float x) const { return "f" + listed(std::vector<float>{x}); }
    std::string operator()(const std::string& x) const { return "s" + listed(std::vector{x}); }
    std::string operator()(const std::vector<int64_t>& x) const { return "I" + listed(x); }
    std::string operator()(const std::vector<float>& x) const { return "F" + listed(x); }
    std::string operator()(const std::vector<std::string>& x) const { return "S" + listed(x); }
    std::string operator()(const ir::TensorData& x) const { return "t" + bytes_of(x); }
  };
  return std::visit(Visitor{}, attribute);
}

// Names the contents of small constants and of values known in symbols; empty for others.
std::string content_key(const ir::Value& value) {
  if (value.constant) {
    return value.constant->byte_size <= kComparedBytes && value.constant->bytes != nullptr
               ? "c" + bytes_of(*value.constant)
               : "";
  }
  if (!value.elements || !value.shape || value.producer != kAbsent) return "";
  std::string text = "e" + ir::shape_text(*value.shape) + ir::element_name(value.type);
  for (const Expr& element : *value.elements) text += element.str() + ",";
  return text;
}

std::string node_key(const Node& node) {
  std::string key = node.domain + "|" + node.op + "|" + listed(node.inputs);
  for (const auto& [name, attribute] : node.attributes) {
    key += name + "=" + attribute_key(attribute) + ";";
  }
  return key;
}

}  // namespace

int merge_duplicates(PassContext& context) {
  Graph& graph = context.graph;
  std::unordered_map<std::string, ValueId> contents;
  std::unordered_map<std::string, ir::NodeId> nodes;
  std::unordered_map<ValueId, ValueId> merged;  // duplicate -> first
  int hits = 0;
  for (const ir::NodeId id : graph.order()) {
    Node& node = graph.node(id);
    for (ValueId& input : node.inputs) {
      if (input == kAbsent) continue;
      if (const auto known = merged.find(input); known != merged.end()) {
        input = known->second;
        continue;
      }
      const std::string key = content_key(graph.value(input));
      if (!key.empty()) input = contents.try_emplace(key, input).first->second;
    }
    const auto [first, is_new] = nodes.try_emplace(node_key(node), id);
    if (is_new) continue;
    const Node& original = graph.node(first->second);
    bool replaceable = original.outputs.size() == node.outputs.size();
    for (const ValueId output : node.outputs) {
      replaceable = replaceable && output != kAbsent && !graph.is_output(output);
    }
    for (const ValueId output : original.outputs) replaceable = replaceable && output != kAbsent;
    if (!replaceable) continue;
    for (size_t i = 0; i < node.outputs.size(); ++i) merged[node.outputs[i]] = original.outputs[i];
    ++hits;
  }
  return hits;
}

}  // namespace pocket
