// Small ONNX models made in the test, and files that hold them.
#pragma once

#include <onnx/onnx_pb.h>

#include <fstream>
#include <string>
#include <vector>

#include "test/support/command.h"

namespace pocket::test {

class ModelBuilder {
 public:
  explicit ModelBuilder(int64_t opset = 18) {
    model_.set_ir_version(8);
    model_.set_producer_name("test");
    model_.add_opset_import()->set_version(opset);
    model_.mutable_graph()->set_name("g");
  }

  // Dimensions: "3" is a number, "" an unnamed one, anything else a dim_param.
  void input(const std::string& name, const std::vector<std::string>& dims, int type = 1) {
    describe(model_.mutable_graph()->add_input(), name, dims, type);
  }
  void output(const std::string& name) { model_.mutable_graph()->add_output()->set_name(name); }

  onnx::NodeProto& node(const std::string& op, const std::vector<std::string>& inputs,
                        const std::vector<std::string>& outputs, const std::string& domain = "") {
    onnx::NodeProto* made = model_.mutable_graph()->add_node();
    made->set_op_type(op);
    made->set_domain(domain);
    made->set_name(op + "_" + std::to_string(model_.graph().node_size()));
    for (const std::string& name : inputs) made->add_input(name);
    for (const std::string& name : outputs) made->add_output(name);
    return *made;
  }

  onnx::TensorProto& initializer(const std::string& name, const std::vector<int64_t>& dims,
                                 int type = 1) {
    onnx::TensorProto* tensor = model_.mutable_graph()->add_initializer();
    tensor->set_name(name);
    tensor->set_data_type(type);
    for (const int64_t dim : dims) tensor->add_dims(dim);
    return *tensor;
  }

  void external(const std::string& name, const std::vector<int64_t>& dims,
                const std::string& location, const std::string& offset, const std::string& length) {
    onnx::TensorProto& tensor = initializer(name, dims);
    tensor.set_data_location(onnx::TensorProto::EXTERNAL);
    const auto add = [&](const char* key, const std::string& value) {
      if (value.empty()) return;
      onnx::StringStringEntryProto* entry = tensor.add_external_data();
      entry->set_key(key);
      entry->set_value(value);
    };
    add("location", location);
    add("offset", offset);
    add("length", length);
  }

  onnx::ModelProto& proto() { return model_; }
  std::string bytes() const { return model_.SerializeAsString(); }
  void write(const std::string& path) const { write_bytes(path, bytes()); }

  static void write_bytes(const std::string& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary)
        .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }

 private:
  static void describe(onnx::ValueInfoProto* value, const std::string& name,
                       const std::vector<std::string>& dims, int type) {
    value->set_name(name);
    auto* tensor = value->mutable_type()->mutable_tensor_type();
    tensor->set_elem_type(type);
    tensor->mutable_shape();
    for (const std::string& dim : dims) {
      auto* made = tensor->mutable_shape()->add_dim();
      if (dim.empty()) continue;
      if (dim.find_first_not_of("0123456789") == std::string::npos)
        made->set_dim_value(std::stoll(dim));
      else
        made->set_dim_param(dim);
    }
  }

  onnx::ModelProto model_;
};

}  // namespace pocket::test
