#include "converter/onnx/expand.h"

#include <map>
#include <utility>

#include "converter/shape/infer.h"
#include "runtime/base/error.h"

namespace pocket::onnx_import {

using ir::kAbsent;
using ir::Node;
using ir::NodeId;
using ir::ValueId;

namespace {

using Expand = Replacement (*)(Emitter&, const Node&);
constexpr const char* kMicrosoft = "com.microsoft";

const std::map<std::pair<std::string, std::string>, Expand>& table() {
  static const std::map<std::pair<std::string, std::string>, Expand> kTable = {
      {{kMicrosoft, "SkipLayerNormalization"}, expand_norm},
      {{kMicrosoft, "SkipSimplifiedLayerNormalization"}, expand_norm},
      {{kMicrosoft, "SimplifiedLayerNormalization"}, expand_norm},
      {{"", "SimplifiedLayerNormalization"}, expand_norm},
      {{kMicrosoft, "EmbedLayerNormalization"}, expand_norm},
      {{kMicrosoft, "BiasGelu"}, expand_function},
      {{kMicrosoft, "FastGelu"}, expand_function},
      {{kMicrosoft, "Gelu"}, expand_function},
      {{kMicrosoft, "QuickGelu"}, expand_function},
      {{"", "Swish"}, expand_function},
      {{kMicrosoft, "FusedMatMul"}, expand_function},
      {{"", "RotaryEmbedding"}, expand_rotary},
      {{kMicrosoft, "RotaryEmbedding"}, expand_rotary},
      {{kMicrosoft, "Attention"}, expand_attention},
      {{kMicrosoft, "MultiHeadAttention"}, expand_attention},
      {{kMicrosoft, "GroupQueryAttention"}, expand_attention},
      {{"", "Attention"}, expand_attention},
      {{kMicrosoft, "MatMulNBits"}, expand_quantised},
      {{kMicrosoft, "GatherBlockQuantized"}, expand_quantised},
      {{"", "DequantizeLinear"}, expand_quantised},
      {{kMicrosoft, "DequantizeLinear"}, expand_quantised},
      {{kMicrosoft, "DynamicQuantizeMatMul"}, expand_integer_product},
      {{kMicrosoft, "MatMulIntegerToFloat"}, expand_integer_product},
      {{"", "MatMulInteger"}, expand_integer_product},
  };
  return kTable;
}

void replace(Expansion& expansion, NodeId id, const std::vector<ValueId>& made) {
  ir::Graph& graph = expansion.graph;
  const std::vector<ValueId> old = graph.node(id).outputs;
  for (size_t k = 0; k < old.size(); ++k) {
    if (old[k] == kAbsent || (k < made.size() && made[k] == old[k])) continue;
    const bool has = k < made.size() && made[k] != kAbsent;
    if (!has && !expansion.used(old[k])) continue;
    if (!has) {
      const Node& node = graph.node(id);
      throw Error(ExitCode::bad_input, "operator " + node.op + " \"" + node.name +
                                           "\" has its output " + std::to_string(k) +
                                           " read, which is unsupported; export the model without "
                                           "that output.");
    }
    // The next expansions look at shapes before they are inferred again.
    ir::Value& value = graph.value(made[k]);
    if (!value.shape) value.shape = graph.value(old[k]).shape;
    if (value.type == ir::ElementType::undefined) value.type = graph.value(old[k]).type;
    graph.replace_uses(old[k], made[k]);
    if (const auto it = expansion.heads_of.find(old[k]); it != expansion.heads_of.end()) {
      expansion.heads_of.emplace(made[k], it->second);
    }
  }
  graph.erase(id);
}

bool needs_work(const ir::Graph& graph) {
  for (const NodeId id : graph.order()) {
    const Node& node = graph.node(id);
    if (table().contains({node.domain, node.op}) || node.is("Choose", "pocket")) return true;
  }
  return false;
}

}  // namespace

bool rounds_activations(const ir::Graph& graph) {
  for (const NodeId id : graph.order()) {
    const Node& node = graph.node(id);
    if (node.is("DynamicQuantizeLinear") || node.is("DynamicQuantizeMatMul", kMicrosoft))
      return true;
  }
  return false;
}

int expand_operators(ir::Graph& graph, std::vector<std::string>* notes) {
  Expansion expansion{graph, {}, {}, {}};
  int count = 0;
  if (needs_work(graph)) {
    shape::infer_shapes(graph);
    for (const NodeId id : graph.order()) {
      if (!graph.alive(id)) continue;
      const Node node = graph.node(id);  // a copy: nodes are added
      const auto expand = table().find({node.domain, node.op});
      if (expand == table().end()) continue;
      Emitter emitter(expansion, node);
      const Replacement made = expand->second(emitter, node);
      if (!made) continue;
      replace(expansion, id, *made);
      ++count;
    }
    graph.remove_dead();
  }
  count += expand_choices(expansion);
  count += tidy(expansion);
  graph.verify();
  if (notes != nullptr) {
    notes->insert(notes->end(), expansion.notes.begin(), expansion.notes.end());
  }
  return count;
}

}  // namespace pocket::onnx_import
