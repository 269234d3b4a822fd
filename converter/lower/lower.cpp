#include "converter/lower/lower.h"

#include <algorithm>
#include <map>
#include <set>

#include "converter/lower/layers.h"
#include "converter/lower/lower_generic.h"
#include "converter/lower/lower_node.h"
#include "converter/lower/plan_memory.h"
#include "converter/lower/program_builder.h"
#include "runtime/base/error.h"

namespace pocket {

namespace {

using ir::Graph;
using ir::kAbsent;
using ir::Node;
using ir::NodeId;
using ir::ValueId;

constexpr int64_t kFallbackContext = 4096;  // when neither configuration nor positions say one
constexpr int64_t kLargestDefaultContext = 4096;
constexpr int64_t kDefaultChunk = 128;

[[noreturn]] void fail(const std::string& message) { throw Error(ExitCode::bad_input, message); }

// The one output that is not a state.
ValueId find_logits(const Graph& graph) {
  std::set<ValueId> states;
  for (const ir::StatePair& state : graph.states) states.insert(state.present);
  ValueId logits = kAbsent;
  for (const ValueId output : graph.outputs) {
    if (states.contains(output)) continue;
    if (logits != kAbsent) {
      fail("The model has the outputs '" + graph.value(logits).name + "' and '" +
           graph.value(output).name +
           "' besides its states; export it for text generation, which leaves only the logits.");
    }
    logits = output;
  }
  if (logits == kAbsent) {
    fail("The model has no output besides its states; export it for text generation.");
  }
  return logits;
}

// Nodes that the program computes: those that the outputs depend on at run time.
std::vector<NodeId> computed_nodes(const Graph& graph) {
  std::set<NodeId> needed;
  std::vector<ValueId> work = graph.outputs;
  while (!work.empty()) {
    const ValueId value = work.back();
    work.pop_back();
    const NodeId id = graph.value(value).producer;
    if (!graph.alive(id) || !needed.insert(id).second) continue;
    const std::vector<ValueId> operands = runtime_operands(graph, graph.node(id));
    work.insert(work.end(), operands.begin(), operands.end());
  }
  std::vector<NodeId> nodes;
  for (const NodeId id : graph.order()) {
    if (needed.contains(id)) nodes.push_back(id);
  }
  return nodes;
}

// Nodes behind SelectRows.
std::set<NodeId> head_nodes(const Graph& graph, const std::vector<NodeId>& nodes) {
  std::set<NodeId> head;
  for (const NodeId id : nodes) {
    const Node& node = graph.node(id);
    const bool behind = std::any_of(node.inputs.begin(), node.inputs.end(), [&](ValueId input) {
      return input != kAbsent && head.contains(graph.value(input).producer);
    });
    if (behind || node.is("SelectRows", "pocket")) head.insert(id);
  }
  return head;
}

std::string full_name(const Node& node) {
  return node.domain.empty() ? node.op : node.domain + "." + node.op;
}

std::string list_unsupported(const Graph& graph, const std::vector<NodeId>& nodes) {
  std::map<std::string, std::string> by_operator;
  for (const NodeId id : nodes) {
    const Node& node = graph.node(id);
    std::string& names = by_operator[full_name(node)];
    names += (names.empty() ? "" : ", ") + (node.name.empty() ? "(unnamed)" : node.name);
  }
  std::string text;
  for (const auto& [op, names] : by_operator) {
    text += (text.empty() ? "" : "; ") + op + ": " + names;
  }
  return text;
}

// Rows of learned positions that remain behind the offset bound the context.
int64_t context_of(const LowerOptions& options, const Lowered& lowered) {
  int64_t context = options.max_context;
  for (const Operator& op : lowered.program.operators) {
    if (op.kind != OpKind::embed || op.weights[1] == kNone) continue;
    const int64_t rows = lowered.weights[static_cast<size_t>(op.weights[1])].shape[0];
    const int64_t reach = rows - op.attributes.position_offset;
    context = context > 0 ? std::min(context, reach) : reach;
  }
  return context > 0 ? context : kFallbackContext;
}

void set_sizes(const LowerOptions& options, Lowered& lowered) {
  Program& program = lowered.program;
  program.max_context = context_of(options, lowered);
  const auto at_most = [](int64_t wanted, int64_t fallback, int64_t limit) {
    return std::min(wanted > 0 ? wanted : fallback, limit);
  };
  program.default_context =
      at_most(options.default_context, kLargestDefaultContext, program.max_context);
  program.default_chunk = at_most(options.default_chunk, kDefaultChunk, program.default_context);
  program.symbols = {{"tokens", {1, program.max_context}},
                     {"past", {0, program.max_context - 1}},
                     {"rows", {1, program.max_context}},
                     {"context", {1, program.max_context}}};
}

void add_operators(const Graph& graph, const NodeContext& context, const std::vector<NodeId>& nodes,
                   ProgramBuilder& builder) {
  const LayerMap map = find_layers(graph);
  std::vector<std::vector<NodeId>> by_layer(static_cast<size_t>(map.layers) + 2);
  for (const NodeId id : nodes) {
    const int layer =
        context.head.contains(id) ? map.layers : map.layer_of[static_cast<size_t>(id)];
    by_layer[static_cast<size_t>(layer + 1)].push_back(id);
  }
  std::vector<NodeId> unsupported;
  for (size_t i = 0; i < by_layer.size(); ++i) {
    for (const NodeId id : by_layer[i]) {
      if (lower_node(context, id, builder)) continue;
      const Node& node = graph.node(id);
      if (lower_generic(context, id, builder)) {
        builder.lowered.unfused.push_back({full_name(node), node.name});
      } else {
        unsupported.push_back(id);
      }
    }
    const bool is_head = i + 1 == by_layer.size();
    builder.end_segment(i == 0    ? "embedding"
                        : is_head ? "head"
                                  : "layer " + std::to_string(i - 1),
                        is_head ? Part::head : Part::body);
  }
  if (!unsupported.empty()) {
    fail("No runtime operator computes " + list_unsupported(graph, unsupported) +
         "; these nodes were not recognised as part of a known computation, see --dump-after.");
  }
}

}  // namespace

const char* weight_role_name(WeightRole role) {
  switch (role) {
    case WeightRole::matrix:
      return "matrix";
    case WeightRole::vector:
      return "vector";
    case WeightRole::embedding:
      return "embedding";
    case WeightRole::head:
      return "head";
    case WeightRole::positions:
      return "positions";
  }
  return "?";
}

Lowered lower(const Graph& graph, const LowerOptions& options) {
  const std::vector<NodeId> nodes = computed_nodes(graph);
  NodeContext context{graph, residual_values(graph), head_nodes(graph, nodes), find_logits(graph)};
  if (context.head.empty()) {
    fail("The logits '" + graph.value(context.logits).name +
         "' are not made by a matrix from the last hidden rows; export the model for text "
         "generation.");
  }
  ProgramBuilder builder(graph);
  add_operators(graph, context, nodes, builder);
  Lowered lowered = std::move(builder.lowered);
  Program& program = lowered.program;
  program.logits = builder.find(context.logits);
  program.vocab = program.tensors[static_cast<size_t>(program.logits)].shape.back().constant();
  set_sizes(options, lowered);
  plan_memory(program);
  std::vector<std::vector<int64_t>> shapes;
  for (const LoweredWeight& weight : lowered.weights) shapes.push_back(weight.shape);
  verify(program, shapes);
  return lowered;
}

}  // namespace pocket
