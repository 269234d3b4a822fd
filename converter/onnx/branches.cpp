#include "converter/onnx/branches.h"

#include <algorithm>
#include <map>
#include <set>

#include "runtime/base/error.h"

namespace pocket::onnx_import {

namespace {

constexpr int kMostBranches = 4096;
constexpr int kMostNodes = 1 << 20;

[[noreturn]] void fail(const std::string& message) { throw Error(ExitCode::bad_input, message); }

const onnx::GraphProto& branch_of(const onnx::NodeProto& node, const char* name) {
  for (const onnx::AttributeProto& attribute : node.attribute()) {
    if (attribute.name() == name && attribute.has_g()) return attribute.g();
  }
  fail("node \"" + node.name() + "\" is an If without its " + name + "; export the model again.");
}

onnx::GraphProto* mutable_branch_of(onnx::NodeProto& node, const char* name) {
  (void)branch_of(node, name);
  for (onnx::AttributeProto& attribute : *node.mutable_attribute()) {
    if (attribute.name() == name) return attribute.mutable_g();
  }
  return nullptr;
}

// How often a subgraph reads one of the names, its own subgraphs included.
int reads_of(const onnx::GraphProto& graph, const std::set<std::string>& names, int depth = 0) {
  if (depth > 16) fail("the model nests subgraphs more than 16 deep; export it without them.");
  int count = 0;
  for (const onnx::NodeProto& node : graph.node()) {
    for (const std::string& input : node.input()) count += names.contains(input) ? 1 : 0;
    for (const onnx::AttributeProto& attribute : node.attribute()) {
      if (attribute.has_g()) count += reads_of(attribute.g(), names, depth + 1);
    }
  }
  return count;
}

// Moves a branch's nodes and constants into `nodes` and `graph` under fresh names; what the branch
// captures keeps its name. Returns the names of the branch's outputs.
class Inliner {
 public:
  Inliner(onnx::GraphProto& graph, google::protobuf::RepeatedPtrField<onnx::NodeProto>& nodes)
      : graph_(graph), nodes_(nodes) {}

  std::vector<std::string> run(onnx::GraphProto* branch, const std::string& prefix) {
    std::map<std::string, std::string> names;
    if (branch->input_size() > 0) {
      fail("a branch of the model takes inputs of its own; export the model again.");
    }
    for (onnx::TensorProto& tensor : *branch->mutable_initializer()) {
      names[tensor.name()] = prefix + tensor.name();
      onnx::TensorProto* moved = graph_.add_initializer();
      moved->Swap(&tensor);  // weights are moved, never copied
      moved->set_name(prefix + moved->name());
    }
    for (const onnx::NodeProto& node : branch->node()) {
      for (const std::string& output : node.output()) {
        if (!output.empty()) names[output] = prefix + output;
      }
    }
    for (onnx::NodeProto& node : *branch->mutable_node()) {
      if (nodes_.size() >= kMostNodes) fail("the model's branches hold too many nodes.");
      onnx::NodeProto* moved = nodes_.Add();
      moved->Swap(&node);
      rename(*moved, names, prefix, 0);
    }
    std::vector<std::string> outputs;
    for (const onnx::ValueInfoProto& output : branch->output()) {
      const auto it = names.find(output.name());
      outputs.push_back(it == names.end() ? output.name() : it->second);
    }
    return outputs;
  }

 private:
  static void rename(onnx::NodeProto& node, const std::map<std::string, std::string>& names,
                     const std::string& prefix, int depth) {
    if (depth > 16) fail("the model nests subgraphs more than 16 deep; export it without them.");
    const auto renamed = [&](std::string& name) {
      if (const auto it = names.find(name); it != names.end()) name = it->second;
    };
    if (depth == 0) node.set_name(prefix + node.name());
    for (std::string& input : *node.mutable_input()) renamed(input);
    if (depth == 0) {
      for (std::string& output : *node.mutable_output()) renamed(output);
    }
    for (onnx::AttributeProto& attribute : *node.mutable_attribute()) {
      if (!attribute.has_g()) continue;
      // Names that the inner graph defines itself hide ours.
      std::map<std::string, std::string> visible = names;
      for (const onnx::NodeProto& inner : attribute.g().node()) {
        for (const std::string& output : inner.output()) visible.erase(output);
      }
      for (const onnx::TensorProto& tensor : attribute.g().initializer()) {
        visible.erase(tensor.name());
      }
      for (onnx::NodeProto& inner : *attribute.mutable_g()->mutable_node()) {
        rename(inner, visible, prefix, depth + 1);
      }
      for (onnx::ValueInfoProto& output : *attribute.mutable_g()->mutable_output()) {
        if (const auto it = visible.find(output.name()); it != visible.end()) {
          output.set_name(it->second);
        }
      }
    }
  }

  onnx::GraphProto& graph_;
  google::protobuf::RepeatedPtrField<onnx::NodeProto>& nodes_;
};

// Inputs that hold a past: floats of four or five dimensions.
std::set<std::string> past_inputs(const onnx::GraphProto& graph) {
  std::set<std::string> names;
  for (const onnx::ValueInfoProto& input : graph.input()) {
    if (input.type().tensor_type().shape().dim_size() >= 4) names.insert(input.name());
  }
  return names;
}

// The switch of a merged decoder becomes a constant.
void fix_input(onnx::GraphProto& graph, const std::string& name, bool value) {
  for (int k = 0; k < graph.input_size(); ++k) {
    if (graph.input(k).name() != name) continue;
    onnx::TensorProto* constant = graph.add_initializer();
    constant->set_name(name);
    constant->set_data_type(onnx::TensorProto::BOOL);
    for (const auto& dim : graph.input(k).type().tensor_type().shape().dim()) {
      (void)dim;
      constant->add_dims(1);
    }
    constant->add_int32_data(value ? 1 : 0);
    graph.mutable_input()->DeleteSubrange(k, 1);
    return;
  }
}

std::optional<bool> choice_of(onnx::GraphProto& graph, const onnx::NodeProto& node,
                              const ConditionFolder& fold, std::vector<std::string>& notes) {
  const std::string condition = node.input_size() == 1 ? node.input(0) : "";
  for (const onnx::ValueInfoProto& input : graph.input()) {
    if (input.name() != condition) continue;
    const std::set<std::string> past = past_inputs(graph);
    const int then_reads = reads_of(branch_of(node, "then_branch"), past);
    const int else_reads = reads_of(branch_of(node, "else_branch"), past);
    if (then_reads == else_reads) {
      fail("the model chooses between two branches by its input \"" + condition +
           "\" and both read the past equally; export one decoder with past.");
    }
    const bool value = then_reads > else_reads;
    notes.push_back("The branch with a past is kept: \"" + condition + "\" is always " +
                    (value ? "true." : "false."));
    fix_input(graph, condition, value);
    return value;
  }
  return fold(condition);
}

bool has_branches(const onnx::GraphProto& graph) {
  for (const onnx::NodeProto& node : graph.node()) {
    if (node.op_type() == "If" && node.domain().empty()) return true;
  }
  return false;
}

using Dims = google::protobuf::RepeatedField<int64_t>;
using Nodes = google::protobuf::RepeatedPtrField<onnx::NodeProto>;

// The dimensions of a constant that has some; null for any other value.
const Dims* constant_dims(const onnx::GraphProto& graph, const Nodes& nodes,
                          const std::string& name) {
  for (const onnx::TensorProto& tensor : graph.initializer()) {
    if (tensor.name() == name) return &tensor.dims();
  }
  for (const onnx::NodeProto& node : nodes) {
    if (node.op_type() != "Constant" || node.output_size() != 1 || node.output(0) != name) continue;
    for (const onnx::AttributeProto& attribute : node.attribute()) {
      if (attribute.has_t()) return &attribute.t().dims();
    }
  }
  return nullptr;
}

// True when both are constants that differ in their first dimension alone.
bool are_tables(const onnx::GraphProto& graph, const Nodes& nodes, const std::string& a,
                const std::string& b) {
  const Dims *x = constant_dims(graph, nodes, a), *y = constant_dims(graph, nodes, b);
  return x != nullptr && y != nullptr && x->size() == y->size() && x->size() > 1 &&
         x->Get(0) != y->Get(0) && std::equal(x->begin() + 1, x->end(), y->begin() + 1);
}

onnx::NodeProto& add_node(Nodes& nodes, const std::string& op,
                          const std::vector<std::string>& inputs, const std::string& output) {
  onnx::NodeProto* node = nodes.Add();
  node->set_op_type(op);
  node->set_name(output);
  for (const std::string& input : inputs) node->add_input(input);
  node->add_output(output);
  return *node;
}

}  // namespace

void resolve_branches(onnx::ModelProto& model, const ConditionFolder& fold,
                      std::vector<std::string>& notes) {
  onnx::GraphProto& graph = *model.mutable_graph();
  for (int count = 0; has_branches(graph); ++count) {
    if (count == kMostBranches) fail("the model has more than 4096 branches; export it again.");
    int at = 0;
    while (graph.node(at).op_type() != "If" || !graph.node(at).domain().empty()) ++at;
    onnx::NodeProto node;  // name, inputs and outputs; the branches, with their weights, stay
    node.set_name(graph.node(at).name());
    *node.mutable_input() = graph.node(at).input();
    *node.mutable_output() = graph.node(at).output();
    const std::optional<bool> choice = choice_of(graph, graph.node(at), fold, notes);
    const std::string prefix =
        (node.name().empty() ? "If" : node.name()) + "_" + std::to_string(count) + "/";
    Nodes nodes;
    for (int k = 0; k < at; ++k) nodes.Add()->Swap(graph.mutable_node(k));
    Inliner inliner(graph, nodes);
    std::vector<std::string> taken[2];
    for (const bool value : {true, false}) {
      if (choice && *choice != value) continue;
      taken[value ? 0 : 1] = inliner.run(
          mutable_branch_of(*graph.mutable_node(at), value ? "then_branch" : "else_branch"),
          prefix + (value ? "then/" : "else/"));
      if (static_cast<int>(taken[value ? 0 : 1].size()) < node.output_size()) {
        fail("a branch of node \"" + node.name() + "\" has too few outputs; export again.");
      }
    }
    for (int k = 0; k < node.output_size(); ++k) {
      if (node.output(k).empty()) continue;
      const auto index = static_cast<size_t>(k);
      if (choice) {
        add_node(nodes, "Identity", {taken[*choice ? 0 : 1][index]}, node.output(k));
        continue;
      }
      const bool tables = are_tables(graph, nodes, taken[0][index], taken[1][index]);
      add_node(nodes, tables ? "Choose" : "Where",
               {node.input(0), taken[0][index], taken[1][index]}, node.output(k))
          .set_domain(tables ? "pocket" : "");
    }
    for (int k = at + 1; k < graph.node_size(); ++k) nodes.Add()->Swap(graph.mutable_node(k));
    graph.mutable_node()->Swap(&nodes);
  }
}

}  // namespace pocket::onnx_import
