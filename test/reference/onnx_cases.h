// Cases of one operator with its inputs and what somebody else computed: the node tests of the onnx
// package (onnx_cases.json, written by make_onnx_cases.py), ONNX Runtime's own results
// (contrib_cases.json, written by make_contrib_cases.py), and the op vectors among the outside data
// (JSON with // comments).
#pragma once

#include <cmath>
#include <fstream>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "converter/reference/executor.h"

namespace pocket::test {

struct OnnxCase {
  std::string name;
  ir::Node node;
  int64_t opset = 0;
  std::vector<std::optional<reference::HostTensor>> inputs, outputs;  // nothing where omitted
};

inline reference::HostTensor tensor_from(const nlohmann::json& json) {
  reference::HostTensor out;
  out.type = ir::element_from_onnx(json.at("type").get<int64_t>());
  out.shape = json.at("shape").get<std::vector<int64_t>>();
  for (const nlohmann::json& value : json.at("values")) {
    if (out.is_integer())
      out.i.push_back(value.get<int64_t>());
    else
      out.f.push_back(value.is_string() ? std::stof(value.get<std::string>())
                                        : static_cast<float>(value.get<double>()));
  }
  return out;
}

inline ir::Attribute attribute_from(const nlohmann::json& json) {
  if (json.contains("tensor")) return tensor_from(json.at("tensor")).to_data();
  if (json.contains("int")) return json.at("int").get<int64_t>();
  if (json.contains("float")) return json.at("float").get<float>();
  if (json.contains("string")) return json.at("string").get<std::string>();
  if (json.contains("ints")) return json.at("ints").get<std::vector<int64_t>>();
  return json.at("floats").get<std::vector<float>>();
}

inline std::vector<OnnxCase> read_onnx_cases(const std::string& name = "onnx_cases.json") {
  std::ifstream file(POCKET_SOURCE_DIR "/test/reference/" + name);
  std::vector<OnnxCase> cases;
  const nlohmann::json document = nlohmann::json::parse(file);
  for (const nlohmann::json& json : document.at("cases")) {
    OnnxCase c;
    c.name = json.at("name").get<std::string>();
    c.node.name = c.name;
    c.node.op = json.at("op").get<std::string>();
    c.node.domain = json.value("domain", "");
    c.opset = json.at("opset").get<int64_t>();
    for (const auto& [key, value] : json.at("attributes").items()) {
      c.node.attributes.emplace(key, attribute_from(value));
    }
    const auto read = [](const nlohmann::json& list, auto& into) {
      for (const nlohmann::json& item : list) {
        into.push_back(item.is_null() ? std::nullopt : std::optional(tensor_from(item)));
      }
    };
    read(json.at("inputs"), c.inputs);
    read(json.at("outputs"), c.outputs);
    cases.push_back(std::move(c));
  }
  return cases;
}

// Nothing where the outside data is absent.
inline std::vector<OnnxCase> read_op_vectors(const std::string& name) {
  std::ifstream file(POCKET_SHARED_DATA "/onnx/op-vectors/" + name);
  std::vector<OnnxCase> cases;
  if (!file) return cases;
  static const std::map<std::string, int> kTypes = {{"float32", 1}, {"uint8", 2},  {"int32", 6},
                                                    {"int64", 7},   {"uint4", 21}, {"int4", 22}};
  const auto read = [](const nlohmann::json& list, auto& into) {
    for (const nlohmann::json& item : list) {
      if (item.at("data").is_null()) {
        into.push_back(std::nullopt);
        continue;
      }
      into.push_back(tensor_from({{"type", kTypes.at(item.at("type").get<std::string>())},
                                  {"shape", item.at("dims")},
                                  {"values", item.at("data")}}));
    }
  };
  for (const nlohmann::json& json : nlohmann::json::parse(file, nullptr, true, true)) {
    for (const nlohmann::json& run : json.at("cases")) {
      OnnxCase c;
      c.name = json.at("name").get<std::string>() + " / " + run.at("name").get<std::string>();
      c.node.name = c.name;
      c.node.op = json.at("operator").get<std::string>();
      c.node.domain = json.at("opset").at("domain").get<std::string>();
      c.opset = 18;
      for (const nlohmann::json& a : json.at("attributes")) {
        const std::string key = a.at("name").get<std::string>();
        if (a.at("type") == "float")
          c.node.attributes.emplace(key, a.at("data").get<float>());
        else
          c.node.attributes.emplace(key, a.at("data").get<int64_t>());
      }
      read(run.at("inputs"), c.inputs);
      read(run.at("outputs"), c.outputs);
      cases.push_back(std::move(c));
    }
  }
  return cases;
}

inline const std::vector<std::string>& op_vector_files() {
  static const std::vector<std::string> kFiles = {"gather-block-quantized.jsonc",
                                                  "group-query-attention.jsonc",
                                                  "matmulnbits.jsonc",
                                                  "rotary-embedding.jsonc",
                                                  "simplified-layer-norm.jsonc",
                                                  "skip-simplified-layer-norm.jsonc"};
  return kFiles;
}

// A graph of the one node: the inputs are graph inputs, or constants where `constant` says so.
template <typename Constant>
ir::Graph graph_of(const OnnxCase& c, reference::Feeds& feeds, Constant constant) {
  ir::Graph graph;
  graph.opset = c.opset;
  ir::Node node = c.node;
  for (size_t k = 0; k < c.inputs.size(); ++k) {
    if (!c.inputs[k]) {
      node.inputs.push_back(ir::kAbsent);
    } else if (constant(k)) {
      node.inputs.push_back(
          graph.add_constant("constant" + std::to_string(k), c.inputs[k]->to_data()));
    } else {
      ir::Value value;
      value.name = "input" + std::to_string(k);
      value.type = c.inputs[k]->type;
      value.shape.emplace(c.inputs[k]->shape.begin(), c.inputs[k]->shape.end());
      node.inputs.push_back(graph.add_value(std::move(value)));
      graph.inputs.push_back(node.inputs.back());
      feeds.emplace(node.inputs.back(), *c.inputs[k]);
    }
  }
  const ir::NodeId id = graph.add_node(std::move(node));
  for (size_t k = 0; k < c.outputs.size(); ++k) {
    if (!c.outputs[k]) {
      graph.node(id).outputs.push_back(ir::kAbsent);
      continue;
    }
    graph.outputs.push_back(
        graph.add_output(id, "output" + std::to_string(k), ir::ElementType::undefined));
  }
  return graph;
}

// What differs between a tensor and the expected one; empty when nothing does beyond the tolerance.
inline std::string difference(const reference::HostTensor& got, const reference::HostTensor& want,
                              float absolute = 2e-6f, float relative = 4e-6f) {
  if (got.shape != want.shape) return "another shape";
  if (got.is_integer() != want.is_integer() || got.i != want.i) return "other integers";
  for (size_t i = 0; i < want.f.size(); ++i) {
    const float a = got.f[i], b = want.f[i];
    const bool same = std::isnan(a) || std::isnan(b) ? std::isnan(a) && std::isnan(b)
                      : std::isinf(a) || std::isinf(b)
                          ? a == b
                          : std::fabs(a - b) <= absolute + relative * std::fabs(b);
    if (!same) {
      return "element " + std::to_string(i) + " is " + std::to_string(a) + " instead of " +
             std::to_string(b);
    }
  }
  return "";
}

}  // namespace pocket::test
