// Finds and parses the .onnx file.
#pragma once

#include <onnx/onnx_pb.h>

#include <filesystem>
#include <memory>
#include <string>

namespace pocket::onnx_import {

// The .onnx file that `path` means: itself, or inside a folder model.onnx, the only .onnx file, or
// onnx/model.onnx. Throws Error(bad_input) listing what lies there.
std::filesystem::path find_model(const std::string& path);

// Throws Error(bad_input) in one sentence when the file is damaged, not ONNX, or too large.
std::shared_ptr<onnx::ModelProto> parse_model(const std::filesystem::path& file);

}  // namespace pocket::onnx_import
