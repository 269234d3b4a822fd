// A HuggingFace ONNX export as a Graph: ModelProto, external data, symbols, states.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "converter/ir/graph.h"

namespace pocket::onnx_import {

struct ImportOptions {
  // Weights in external files are described but not mapped: their bytes are null. For
  // --shapes-only.
  bool external_data_may_be_absent = false;
  // Fused operators are written out in plain ones (expand.h). Without it the graph stays as the
  // file has it, for whoever compares both.
  bool expand_operators = true;
};

struct ImportReport {
  std::string model_file;  // the .onnx that was read
  std::string folder;      // where external data and the configuration lie
  std::string producer;    // name and version of the exporter
  int64_t opset = 0;
  int64_t nodes = 0;
  int64_t constants = 0;
  uint64_t inline_bytes = 0;                // of constants inside the protobuf
  uint64_t external_bytes = 0;              // of constants in external files
  std::vector<std::string> external_files;  // relative to the folder
  int64_t context = 0;                      // positions the model was built for
  bool context_is_default = false;          // no configuration said it
  std::vector<std::string> notes;           // what was assumed, one sentence each
};

// `path` is a .onnx file or a folder (model_file.h says which file of a folder is taken). Local
// functions and If are written out, packed states taken apart.
// Symbols of the result are `tokens` (1..context), `past` (0..context) and whatever else the
// inputs name; batch is 1; the mask's length is past + tokens. Throws Error(bad_input) in one
// sentence for a file that is missing, damaged, too large or unsupported; unsupported operators are
// all listed at once.
ir::Graph import_model(const std::string& path, ImportReport* report = nullptr,
                       const ImportOptions& options = {});

}  // namespace pocket::onnx_import
