#include "converter/quant/sensitivity.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "converter/onnx/external_data.h"
#include "runtime/base/error.h"

namespace pocket {
namespace {

constexpr uint64_t kMostHeader = uint64_t{100} << 20;
constexpr const char* kRemedy = "; make it anew with scripts/sensitivity.py.";

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text;
  for (const int64_t extent : shape) text += (text.empty() ? "" : " x ") + std::to_string(extent);
  return text;
}

}  // namespace

Sensitivity::Sensitivity(const std::string& path) : path_(path) {
  const auto file = onnx_import::MappedFile::open(path);
  const auto fail = [&](const std::string& what) {
    throw Error(ExitCode::bad_input, "The sensitivities '" + path + "' " + what + kRemedy);
  };
  uint64_t header = 0;
  if (file->size() < sizeof header) fail("end before their header does");
  std::memcpy(&header, file->bytes(), sizeof header);
  if (header > kMostHeader || header > file->size() - sizeof header) {
    fail("have a header of " + std::to_string(header) + " bytes in a file of " +
         std::to_string(file->size()));
  }
  const auto* text = reinterpret_cast<const char*>(file->bytes() + sizeof header);
  const auto json = nlohmann::json::parse(text, text + header, nullptr, false);
  if (!json.is_object()) fail("have a header that is no JSON object");
  const size_t room = file->size() - sizeof header - header;
  for (const auto& [name, entry] : json.items()) {
    if (name == "__metadata__") continue;
    if (!entry.is_object() || entry.value("dtype", nlohmann::json()) != "F32") {
      fail("hold '" + name + "', which is no F32 tensor");
    }
    const auto numbers = [&](const char* key) {
      std::vector<int64_t> out;
      const auto list = entry.find(key);
      if (list == entry.end() || !list->is_array()) fail("hold '" + name + "' without its " + key);
      for (const auto& one : *list) {
        if (!one.is_number_unsigned() || one.get<uint64_t>() > uint64_t{1} << 40) {
          fail("hold '" + name + "' with " + key + " " + list->dump());
        }
        out.push_back(one.get<int64_t>());
      }
      return out;
    };
    ir::TensorData data;
    data.shape = numbers("shape");
    const std::vector<int64_t> range = numbers("data_offsets");
    if (range.size() != 2 || range[0] > range[1] || static_cast<uint64_t>(range[1]) > room ||
        range[1] - range[0] != 4 * data.elements()) {
      fail("hold '" + name + "' of shape " + shape_text(data.shape) +
           " in a range of bytes that does not fit it");
    }
    data.owner = file;
    data.bytes = file->bytes() + sizeof header + header +
                 static_cast<size_t>(range[0]);
    data.byte_size = static_cast<size_t>(range[1] - range[0]);
    tensors_.emplace(name, std::move(data));
  }
}

WeightSource Sensitivity::of(const std::string& weight, const WeightSource& source,
                             const std::map<const void*, std::string>& names) const {
  const auto fail = [&](const std::string& what) {
    throw Error(ExitCode::bad_input, "The sensitivities '" + path_ + "' " + what + kRemedy);
  };
  std::vector<WeightPart> parts;
  for (WeightPart part : source.parts()) {
    const auto name = names.find(part.data.bytes);
    if (part.data.bytes == nullptr || name == names.end()) {
      throw Error(ExitCode::bad_input, "Weight '" + weight +
                                           "' is no float constant of the model's file, so "
                                           "--sensitivity cannot serve it: leave the option out.");
    }
    const auto found = tensors_.find(name->second);
    if (found == tensors_.end()) fail("do not hold '" + name->second + "'");
    if (found->second.shape != part.data.shape) {
      fail("hold '" + name->second + "' of shape " + shape_text(found->second.shape) +
           " and the model one of " + shape_text(part.data.shape));
    }
    const ir::TensorData& data = found->second;
    for (int64_t i = 0; i < data.elements(); ++i) {
      float value = 0.0f;
      std::memcpy(&value, data.bytes + static_cast<size_t>(i) * sizeof value, sizeof value);
      if (std::isfinite(value) && value >= 0.0f) continue;
      fail("hold " + std::to_string(value) + " in '" + name->second +
           "', and a mean of squares is finite and at least 0");
    }
    part.data = data;
    // A factor of the numbers divides their gradients, all of a row alike: their ratios stay.
    part.factor = 1.0f;
    parts.push_back(std::move(part));
  }
  return WeightSource(std::move(parts));
}

std::map<const void*, std::string> constant_names(const ir::Graph& graph) {
  std::map<const void*, std::string> names;
  for (ir::ValueId id = 0; id < static_cast<ir::ValueId>(graph.value_count()); ++id) {
    const ir::Value& value = graph.value(id);
    if (value.constant && value.constant->bytes != nullptr) {
      names.emplace(value.constant->bytes, value.name);
    }
  }
  return names;
}

}  // namespace pocket
