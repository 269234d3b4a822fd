// Before: x -> Linear q -+                 After: x -> Linear [q; k; v] -> Attention {columns}
//         x -> Linear k -+-> Attention
//         x -> Linear v -+
// The rows of the merged weight are the parts one below the other; nothing is copied.
#include <algorithm>

#include "converter/passes/match.h"
#include "converter/passes/rewrites.h"

namespace pocket {

using ir::Graph;
using ir::kAbsent;
using ir::Node;
using ir::NodeId;
using ir::ValueId;

namespace {

constexpr const char* kColumns[] = {"q_column", "k_column", "v_column"};

// The Linear that makes an attention source, if nothing else reads it and it is plain.
const Node* plain_linear(const Graph& graph, ValueId value, int expected_uses) {
  const Node* linear = made_by(graph, value, "Linear", "pocket");
  if (linear == nullptr || linear->inputs[2] != kAbsent ||
      linear->text("activation", "none") != "none" || use_count(graph, value) != expected_uses) {
    return nullptr;
  }
  return linear;
}

int64_t width_of(const Graph& graph, ValueId value) { return last_dim(graph, value).value_or(0); }

// Biases one after the other, zeros where a part has none; kAbsent when no part has one.
ValueId joined_bias(Graph& graph, const std::vector<Node>& linears, const std::string& name) {
  std::vector<float> joined;
  bool any = false;
  for (const Node& linear : linears) {
    const int64_t rows = width_of(graph, linear.outputs[0]);
    if (linear.inputs[1] == kAbsent) {
      joined.insert(joined.end(), static_cast<size_t>(rows), 0.0f);
      continue;
    }
    const std::vector<float> bias = graph.value(linear.inputs[1]).constant->as_floats();
    joined.insert(joined.end(), bias.begin(), bias.end());
    any = true;
  }
  if (!any) return kAbsent;
  const auto size = static_cast<int64_t>(joined.size());
  return graph.add_constant(name + "/bias", ir::TensorData::from_floats({size}, joined));
}

}  // namespace

int merge_qkv(PassContext& context) {
  Graph& graph = context.graph;
  int hits = 0;
  for (const NodeId id : graph.order()) {
    if (!graph.node(id).is("Attention", "pocket")) continue;
    // The distinct sources of q, k, v in order.
    std::vector<ValueId> sources;
    for (size_t i = 0; i < 3; ++i) {
      const ValueId source = graph.node(id).inputs[i];
      if (std::find(sources.begin(), sources.end(), source) == sources.end()) {
        sources.push_back(source);
      }
    }
    if (sources.size() < 2) continue;
    std::vector<Node> linears;
    for (const ValueId source : sources) {
      const auto& inputs = graph.node(id).inputs;
      const auto uses = std::count(inputs.begin(), inputs.begin() + 3, source);
      const Node* linear = plain_linear(graph, source, static_cast<int>(uses));
      if (linear != nullptr) linears.push_back(*linear);
    }
    const bool all_plain = linears.size() == sources.size();
    if (!all_plain || !std::all_of(linears.begin(), linears.end(), [&](const Node& linear) {
          return linear.inputs[0] == linears.front().inputs[0];
        })) {
      continue;
    }
    Node merged;
    merged.name = graph.node(id).name + "/qkv";
    merged.op = "Linear";
    merged.inputs = {linears.front().inputs[0], joined_bias(graph, linears, merged.name), kAbsent};
    std::vector<int64_t> transposed, first_row, rows;
    std::vector<float> factors;
    std::vector<int64_t> start;  // first column of each source in the merged rows
    int64_t width = 0;
    for (const Node& linear : linears) {
      start.push_back(width);
      width += width_of(graph, linear.outputs[0]);
      merged.inputs.insert(merged.inputs.end(), linear.inputs.begin() + 3, linear.inputs.end());
      const auto append = [&](std::vector<int64_t>& to, const char* key) {
        const std::vector<int64_t> from = linear.integers(key);
        to.insert(to.end(), from.begin(), from.end());
      };
      for (size_t part = 0; part + 3 < linear.inputs.size(); ++part) {
        factors.push_back(weight_factor(linear, part));
      }
      append(transposed, "transposed");
      append(first_row, "first_row");
      append(rows, "rows");
    }
    merged.attributes = {{"transposed", transposed},
                         {"first_row", first_row},
                         {"rows", rows},
                         {"factors", factors},
                         {"activation", std::string("none")}};
    std::vector<Expr> shape = *graph.value(sources.front()).shape;
    shape.back() = Expr(width);
    const ValueId out = emit(graph, std::move(merged), shape);
    Node& attention = graph.node(id);
    for (size_t i = 0; i < 3; ++i) {
      const auto source = std::find(sources.begin(), sources.end(), attention.inputs[i]);
      const int64_t offset = start[static_cast<size_t>(source - sources.begin())];
      attention.attributes[kColumns[i]] = attention.integer(kColumns[i], 0) + offset;
      attention.inputs[i] = out;
    }
    graph.remove_dead();
    ++hits;
  }
  return hits;
}

}  // namespace pocket
