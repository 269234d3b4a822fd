// Finds and parses the .onnx file.
#pragma once

#include <onnx/onnx_pb.h>

#include <filesystem>
#include <memory>
#include <string>

namespace pocket::onnx_import {

// The .onnx file that `path` means: itself, or in a folder the first of model.onnx,
// model_fp16.onnx, decoder_model_merged.onnx and decoder_with_past_model.onnx (of a pair of
// decoders the one that also takes an empty past), then the same in its folder "onnx", then the
// only .onnx file. Several other files are ambiguous: throws Error(bad_input) listing what lies
// there.
std::filesystem::path find_model(const std::string& path);

// Throws Error(bad_input) in one sentence when the file is damaged, not ONNX, or too large.
std::shared_ptr<onnx::ModelProto> parse_model(const std::filesystem::path& file);

}  // namespace pocket::onnx_import
