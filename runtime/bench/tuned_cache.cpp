#include "runtime/bench/tuned_cache.h"

#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <system_error>

#include "runtime/base/error.h"
#include "runtime/bench/output.h"
#include "runtime/vulkan/pipeline_cache.h"

namespace pocket::bench {
namespace {

constexpr uint64_t kLargestFile = 4ull << 20;

std::string hash_of(const std::string& text) { return hex16(XXH64(text.data(), text.size(), 0)); }

// Rows measured under lowered limits are for those limits alone.
std::string identity_of(const Device& device) {
  return hash_of(hex16(cache_identity(device.info())) + to_json(device.limits()).dump());
}

std::string path_of(const Device& device) {
  const std::string folder = default_cache_folder();
  return folder.empty() ? "" : folder + "/tuned-" + identity_of(device) + ".json";
}

nlohmann::json to_json(const KernelConfig& row) {
  return {{"kernel", kernel_name(row.kernel)},
          {"lanes", row.lanes},
          {"rows", row.rows},
          {"tokens", row.tokens},
          {"splits", row.splits},
          {"subgroup", row.subgroup},
          {"texels", row.texels}};
}

// The table's row with these numbers: a file adds no rows of its own.
const KernelConfig* find_row(const nlohmann::json& json) {
  for (const KernelConfig& row : kernel_configs()) {
    if (to_json(row) == json) return &row;
  }
  return nullptr;
}

// Fills `configs`; returns why the text is not to be used, or nothing.
std::string read_rows(const std::string& text, const std::string& identity, TunedConfigs& configs) {
  const nlohmann::json file = nlohmann::json::parse(text, nullptr, false);
  if (!file.is_object() || file.value("schema", nlohmann::json()) != "pocketformer.tuned" ||
      file.value("version", nlohmann::json()) != 1 || !file.contains("rows") ||
      !file["rows"].is_object()) {
    return "it is no list of tuned rows";
  }
  if (file.value("identity", nlohmann::json()) != identity) {
    return "it was written for another device, driver, program or set of limits";
  }
  if (file.value("hash", nlohmann::json()) != hash_of(file["rows"].dump())) {
    return "its hash differs";
  }
  for (const auto& [key, value] : file["rows"].items()) {
    const KernelConfig* row = find_row(value);
    if (row == nullptr) return "its row for \"" + key + "\" is not in this program's table";
    configs.set(key, *row);
  }
  return "";
}

}  // namespace

TunedFile read_tuned(const Device& device) {
  TunedFile result;
  result.path = path_of(device);
  auto configs = std::make_shared<TunedConfigs>();
  result.configs = configs;
  std::error_code error;
  if (result.path.empty() || !std::filesystem::exists(result.path, error)) return result;
  std::string problem = "it cannot be read";
  std::ifstream file(result.path, std::ios::binary);
  const uint64_t bytes = std::filesystem::file_size(result.path, error);
  if (file && !error && bytes <= kLargestFile) {
    const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    problem = read_rows(text, identity_of(device), *configs);
  }
  if (!problem.empty()) {
    result.configs = std::make_shared<TunedConfigs>();
    result.note = "the tuned rows in " + result.path + " are ignored because " + problem +
                  "; run llmbench tune again";
  }
  return result;
}

TunedFile write_tuned(const Device& device, const TunedConfigs& tuned) {
  TunedFile result = read_tuned(device);
  result.note.clear();
  if (result.path.empty()) {
    throw Error(ExitCode::check_failed,
                "the tuned rows have no place to be kept; set XDG_CACHE_HOME or HOME");
  }
  auto merged = std::make_shared<TunedConfigs>(*result.configs);
  for (const auto& [key, row] : tuned.rows()) merged->set(key, row);
  nlohmann::json rows = nlohmann::json::object();
  for (const auto& [key, row] : merged->rows()) rows[key] = to_json(row);
  const nlohmann::json file = {{"schema", "pocketformer.tuned"},
                               {"version", 1},
                               {"identity", identity_of(device)},
                               {"device", device.info().name},
                               {"driver", device.info().driver},
                               {"hash", hash_of(rows.dump())},
                               {"rows", rows}};
  // A reader sees the old file or the new one, never half of it.
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(result.path).parent_path(), error);
  const std::string temporary = result.path + "." + std::to_string(::getpid()) + ".tmp";
  bool written = false;
  {
    std::ofstream stream(temporary, std::ios::binary | std::ios::trunc);
    stream << file.dump(1) << "\n";
    stream.flush();
    written = static_cast<bool>(stream);
  }
  if (written) std::filesystem::rename(temporary, result.path, error);
  if (!written || error) {
    std::filesystem::remove(temporary, error);
    throw Error(ExitCode::check_failed, "the tuned rows could not be written to " + result.path +
                                            "; free space or set XDG_CACHE_HOME");
  }
  result.configs = merged;
  return result;
}

}  // namespace pocket::bench
