#include "converter/onnx/names.h"

#include <cstdint>
#include <string>

#include "runtime/base/error.h"

namespace pocket::onnx_import {

namespace {

constexpr int kMostDepth = 16;  // of subgraphs inside subgraphs

void check(std::string_view name, const char* kind) {
  if (is_text(name)) return;
  throw Error(ExitCode::bad_input, std::string("the model has a ") + kind +
                                       " that is no readable text, so the file is damaged; "
                                       "download or export it again.");
}

void check_tensor(const onnx::TensorProto& tensor) {
  check(tensor.name(), "tensor name");
  for (const onnx::StringStringEntryProto& entry : tensor.external_data()) {
    check(entry.value(), "location of external data");
  }
}

void check_nodes(const google::protobuf::RepeatedPtrField<onnx::NodeProto>& nodes, int depth = 0) {
  for (const onnx::NodeProto& node : nodes) {
    check(node.name(), "node name");
    check(node.op_type(), "operator name");
    check(node.domain(), "domain");
    for (const std::string& name : node.input()) check(name, "value name");
    for (const std::string& name : node.output()) check(name, "value name");
    for (const onnx::AttributeProto& attribute : node.attribute()) {
      check(attribute.name(), "attribute name");
      check(attribute.ref_attr_name(), "attribute name");
      check(attribute.t().name(), "tensor name");
      if (!attribute.has_g()) continue;
      if (depth == kMostDepth) {
        throw Error(ExitCode::bad_input,
                    "the model nests subgraphs more than 16 deep; export it without them.");
      }
      check_nodes(attribute.g().node(), depth + 1);
      for (const onnx::TensorProto& tensor : attribute.g().initializer()) check_tensor(tensor);
      for (const onnx::ValueInfoProto& output : attribute.g().output()) {
        check(output.name(), "output name");
      }
    }
  }
}

}  // namespace

bool is_text(std::string_view text) {
  for (size_t k = 0; k < text.size();) {
    const auto byte = [&](size_t at) { return static_cast<unsigned char>(text[at]); };
    const unsigned char first = byte(k);
    if (first < 0x20 || first == 0x7F) return false;
    const size_t length = first < 0x80 ? 1 : first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    if (length > 1 && (first < 0xC2 || first > 0xF4)) return false;
    if (k + length > text.size()) return false;
    uint32_t code = length == 1 ? first : first & (0x7Fu >> length);
    for (size_t at = k + 1; at < k + length; ++at) {
      if ((byte(at) & 0xC0) != 0x80) return false;
      code = code << 6 | (byte(at) & 0x3Fu);
    }
    constexpr uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
    if (code < kLeast[length] || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
      return false;
    k += length;
  }
  return true;
}

void check_names(const onnx::ModelProto& model) {
  check(model.producer_name(), "producer name");
  check(model.producer_version(), "producer version");
  const onnx::GraphProto& graph = model.graph();
  check(graph.name(), "graph name");
  check_nodes(graph.node());
  for (const onnx::TensorProto& tensor : graph.initializer()) check_tensor(tensor);
  for (const onnx::ValueInfoProto& input : graph.input()) {
    check(input.name(), "input name");
    for (const auto& dim : input.type().tensor_type().shape().dim()) {
      check(dim.dim_param(), "dimension name");
    }
  }
  for (const onnx::ValueInfoProto& output : graph.output()) check(output.name(), "output name");
  for (const onnx::FunctionProto& function : model.functions()) {
    check(function.name(), "function name");
    check(function.domain(), "domain");
    for (const std::string& name : function.input()) check(name, "value name");
    for (const std::string& name : function.output()) check(name, "value name");
    check_nodes(function.node());
  }
}

}  // namespace pocket::onnx_import
