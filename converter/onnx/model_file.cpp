#include "converter/onnx/model_file.h"

#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/stubs/logging.h>

#include <algorithm>
#include <limits>
#include <system_error>
#include <vector>

#include "converter/onnx/external_data.h"
#include "runtime/base/error.h"

namespace pocket::onnx_import {

namespace fs = std::filesystem;

namespace {

[[noreturn]] void fail(const std::string& message) { throw Error(ExitCode::bad_input, message); }

std::vector<std::string> listing(const fs::path& folder, bool only_onnx) {
  std::vector<std::string> names;
  std::error_code ignored;
  for (fs::directory_iterator it(folder, ignored), end; !ignored && it != end;
       it.increment(ignored)) {
    if (!only_onnx || it->path().extension() == ".onnx") {
      names.push_back(it->path().filename().string());
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

fs::path find_model(const std::string& path) {
  const fs::path given(path);
  std::error_code ignored;
  if (fs::is_regular_file(given, ignored)) return given;
  if (!fs::is_directory(given, ignored)) {
    fail("\"" + path +
         "\" does not exist or is no file; give a .onnx file or the folder of an "
         "ONNX export.");
  }
  const fs::path folders[] = {given, given / "onnx"};
  for (const fs::path& folder : folders) {
    for (const char* usual : {"model.onnx", "model_fp16.onnx", "decoder_model_merged.onnx",
                              "decoder_with_past_model.onnx"}) {
      if (fs::is_regular_file(folder / usual, ignored)) return folder / usual;
    }
  }
  for (const fs::path& folder : folders) {
    const std::vector<std::string> models = listing(folder, true);
    if (models.size() == 1) return folder / models[0];
    if (!models.empty()) break;  // ambiguous: the deeper folder does not decide
  }
  std::vector<std::string> models = listing(given, true);
  if (models.empty()) {
    for (const std::string& name : listing(given / "onnx", true)) models.push_back("onnx/" + name);
  }
  constexpr size_t kNamed = 12;
  const std::vector<std::string> names = models.empty() ? listing(given, false) : models;
  std::string seen;
  for (size_t k = 0; k < std::min(names.size(), kNamed); ++k) {
    seen += (k > 0 ? ", " : "") + names[k];
  }
  if (names.size() > kNamed) seen += ", ...";
  if (seen.empty()) seen = "nothing";
  fail("the folder \"" + path + "\" has no model.onnx but " + seen +
       "; name the .onnx file to convert.");
}

std::shared_ptr<onnx::ModelProto> parse_model(const fs::path& file) {
  const std::shared_ptr<const MappedFile> mapped = MappedFile::open(file);
  const std::string name = "\"" + file.string() + "\"";
  if (mapped->size() > static_cast<size_t>(std::numeric_limits<int>::max())) {
    fail(name + " has " + std::to_string(mapped->size()) +
         " bytes but protobuf reads at most 2147483647; export it with external data.");
  }
  auto model = std::make_shared<onnx::ModelProto>();
  {
    // Our sentence says it; protobuf would say it again on stderr.
    const google::protobuf::LogSilencer silence;
    google::protobuf::io::ArrayInputStream bytes(mapped->bytes(), static_cast<int>(mapped->size()));
    if (mapped->size() == 0 || !model->ParseFromZeroCopyStream(&bytes)) {
      fail(name + " is not a whole ONNX file: its " + std::to_string(mapped->size()) +
           " bytes do not parse; download or export it again.");
    }
  }
  if (!model->has_graph() || model->graph().node_size() == 0) {
    fail(name + " holds no ONNX graph; download or export it again.");
  }
  return model;
}

}  // namespace pocket::onnx_import
