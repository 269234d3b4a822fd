// Names out of a file go into messages, dumps and JSON: they have to be text.
#pragma once

#include <onnx/onnx_pb.h>

#include <string_view>

namespace pocket::onnx_import {

// Valid UTF-8 without control characters.
bool is_text(std::string_view);

// Throws Error(bad_input) when a name in the model is not text: then the file is damaged.
void check_names(const onnx::ModelProto&);

}  // namespace pocket::onnx_import
