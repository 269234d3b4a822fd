// TensorProto -> TensorData: inline bytes, typed fields, external ranges.
#pragma once

#include <onnx/onnx_pb.h>

#include <memory>

#include "converter/ir/graph.h"
#include "converter/onnx/external_data.h"
#include "converter/onnx/import.h"

namespace pocket::onnx_import {

class TensorReader {
 public:
  // Inline bytes stay inside the model, which the constants keep alive.
  TensorReader(std::shared_ptr<const onnx::ModelProto> model, ExternalData& external,
               bool external_may_be_absent, ImportReport& report)
      : model_(std::move(model)),
        external_(external),
        external_may_be_absent_(external_may_be_absent),
        report_(report) {}

  // Throws Error(bad_input) naming the tensor: unknown type, impossible shape, wrong size,
  // external data that is missing or lies outside the folder.
  ir::TensorData read(const onnx::TensorProto&) const;

 private:
  void read_external(const onnx::TensorProto&, ir::TensorData&) const;

  std::shared_ptr<const onnx::ModelProto> model_;
  ExternalData& external_;
  bool external_may_be_absent_;
  ImportReport& report_;
};

}  // namespace pocket::onnx_import
