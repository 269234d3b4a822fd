// Model-local functions (the dynamo exporter makes them) written out where they are called.
#pragma once

#include <onnx/onnx_pb.h>

namespace pocket::onnx_import {

// Replaces every call of a function of the model by its body, with fresh names. Throws
// Error(bad_input) when functions call themselves or grow beyond every sensible size.
void inline_functions(onnx::ModelProto&);

}  // namespace pocket::onnx_import
