#include "converter/onnx/functions.h"

#include <map>
#include <string>
#include <utility>

#include "runtime/base/error.h"

namespace pocket::onnx_import {

namespace {

constexpr int kMostDepth = 16;
constexpr int kMostNodes = 1 << 20;

std::string plain_domain(const std::string& domain) { return domain == "ai.onnx" ? "" : domain; }

// Names of the function that a subgraph of its body captures.
void rename_captures(onnx::GraphProto& graph, std::map<std::string, std::string> names, int depth) {
  if (depth > kMostDepth) return;  // checked where branches are written out
  for (const onnx::TensorProto& tensor : graph.initializer()) names.erase(tensor.name());
  for (const onnx::NodeProto& node : graph.node()) {
    for (const std::string& output : node.output()) names.erase(output);
  }
  const auto rename = [&](std::string& name) {
    if (const auto it = names.find(name); it != names.end() && !name.empty()) name = it->second;
  };
  for (onnx::NodeProto& node : *graph.mutable_node()) {
    for (std::string& input : *node.mutable_input()) rename(input);
    for (onnx::AttributeProto& attribute : *node.mutable_attribute()) {
      if (attribute.has_g()) rename_captures(*attribute.mutable_g(), names, depth + 1);
    }
  }
  for (onnx::ValueInfoProto& output : *graph.mutable_output()) rename(*output.mutable_name());
}

class Inliner {
 public:
  Inliner(const onnx::ModelProto& model, std::string mark) : mark_(std::move(mark)) {
    for (const onnx::FunctionProto& function : model.functions()) {
      functions_[{plain_domain(function.domain()), function.name()}] = &function;
    }
  }

  void expand(const onnx::NodeProto& node, int depth) {
    const auto it = functions_.find({plain_domain(node.domain()), node.op_type()});
    if (it == functions_.end()) {
      if (nodes_.size() >= kMostNodes) fail("grow beyond 1048576 nodes");
      nodes_.Add()->CopyFrom(node);
      return;
    }
    if (depth == kMostDepth) fail("are nested more than 16 deep");
    const onnx::FunctionProto& function = *it->second;
    if (node.input_size() > function.input_size() || node.output_size() > function.output_size()) {
      fail("are called with more values than they take");
    }
    const std::string prefix = function.name() + mark_ + "_" + std::to_string(++calls_) + "/";
    std::map<std::string, std::string> names;
    for (int k = 0; k < function.input_size(); ++k) {
      names[function.input(k)] = k < node.input_size() ? node.input(k) : "";
    }
    for (int k = 0; k < node.output_size(); ++k) {
      if (!node.output(k).empty()) names[function.output(k)] = node.output(k);
    }
    const auto renamed = [&](const std::string& name) {
      if (name.empty()) return name;
      return names.emplace(name, prefix + name).first->second;
    };
    for (const onnx::NodeProto& inner : function.node()) {
      onnx::NodeProto copy = inner;
      copy.set_name(prefix + inner.name());
      for (std::string& input : *copy.mutable_input()) input = renamed(input);
      for (std::string& output : *copy.mutable_output()) output = renamed(output);
      for (onnx::AttributeProto& attribute : *copy.mutable_attribute()) {
        if (attribute.has_g()) rename_captures(*attribute.mutable_g(), names, 0);
      }
      bind_attributes(node, copy);
      expand(copy, depth + 1);
    }
  }

  google::protobuf::RepeatedPtrField<onnx::NodeProto>& nodes() { return nodes_; }

 private:
  [[noreturn]] static void fail(const std::string& what) {
    throw Error(ExitCode::bad_input,
                "the model's local functions " + what + "; export the model without functions.");
  }

  // An attribute of the body may refer to one of the call; where the call has none it is dropped.
  static void bind_attributes(const onnx::NodeProto& call, onnx::NodeProto& body) {
    google::protobuf::RepeatedPtrField<onnx::AttributeProto> bound;
    for (const onnx::AttributeProto& attribute : body.attribute()) {
      if (attribute.ref_attr_name().empty()) {
        bound.Add()->CopyFrom(attribute);
        continue;
      }
      for (const onnx::AttributeProto& given : call.attribute()) {
        if (given.name() != attribute.ref_attr_name()) continue;
        bound.Add()->CopyFrom(given);
        bound.Mutable(bound.size() - 1)->set_name(attribute.name());
      }
    }
    body.mutable_attribute()->Swap(&bound);
  }

  std::map<std::pair<std::string, std::string>, const onnx::FunctionProto*> functions_;
  google::protobuf::RepeatedPtrField<onnx::NodeProto> nodes_;
  std::string mark_;
  int calls_ = 0;
};

}  // namespace

void inline_functions(onnx::ModelProto& model, const std::string& mark) {
  if (model.functions_size() == 0) return;
  Inliner inliner(model, mark);
  for (const onnx::NodeProto& node : model.graph().node()) inliner.expand(node, 0);
  model.mutable_graph()->mutable_node()->Swap(&inliner.nodes());
}

}  // namespace pocket::onnx_import
