// Model-local functions (the dynamo exporter makes them) written out where they are called.
#pragma once

#include <onnx/onnx_pb.h>

#include <string>

namespace pocket::onnx_import {

// Replaces every call of a function of the model by its body, with fresh names. Throws
// Error(bad_input) when functions call themselves or grow beyond every sensible size.
// `mark` tells the fresh names of a second round from those of the first.
void inline_functions(onnx::ModelProto&, const std::string& mark = "");

}  // namespace pocket::onnx_import
