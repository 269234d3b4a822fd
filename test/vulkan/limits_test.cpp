#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "test/support/catch.h"
#include "test/vulkan/fixture.h"

namespace pocket::test {
namespace {

nlohmann::json read_json(const std::filesystem::path& path) {
  std::ifstream file(path);
  return nlohmann::json::parse(file);
}

std::vector<std::filesystem::path> json_files(const char* folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".json") files.push_back(entry.path());
  }
  return files;
}

DeviceLimits strong() {
  DeviceLimits limits;
  limits.name = "strong";
  limits.max_invocations = 1024;
  limits.max_group_size[0] = limits.max_group_size[1] = 1024;
  limits.shared_memory = 65536;
  limits.max_storage_buffers = 32;
  limits.max_push_constants = 256;
  limits.offset_alignment = 16;
  limits.subgroup_size = 32;
  limits.fp16_arithmetic = limits.storage_16bit = limits.storage_8bit = true;
  return limits;
}

}  // namespace

TEST_CASE("limits survive JSON") {
  DeviceLimits limits = strong();
  limits.max_binding = (1ull << 32) + 4;
  limits.max_group_count[2] = 7;
  limits.quirks = {"no_large_tile"};
  const DeviceLimits copy = limits_from_json(nlohmann::json::parse(to_json(limits).dump()));
  CHECK(to_json(copy) == to_json(limits));
  CHECK(copy.max_binding == (1ull << 32) + 4);
  CHECK(copy.max_group_count[2] == 7);
  CHECK(copy.has_quirk("no_large_tile"));
  CHECK_FALSE(copy.has_quirk("no_large"));
}

TEST_CASE("limits with an unknown key or a wrong type are refused by the key's name") {
  const auto refused = [](const char* text, const char* key) {
    const Error error = error_of([&] { limits_from_json(nlohmann::json::parse(text)); });
    INFO(text << ": " << error.what());
    CHECK(error.code == ExitCode::bad_input);
    CHECK(contains(error.what(), key));
  };
  refused(R"({"max_invocation": 1})", "max_invocation");
  refused(R"({"max_invocations": "1"})", "max_invocations");
  refused(R"({"max_invocations": -1})", "max_invocations");
  refused(R"({"max_invocations": 1.5})", "max_invocations");
  refused(R"({"max_invocations": 4294967296})", "max_invocations");
  refused(R"({"max_group_size": [1, 2]})", "max_group_size");
  refused(R"({"fp16_arithmetic": 1})", "fp16_arithmetic");
  refused(R"({"subgroup_size": 12})", "subgroup_size");
  refused(R"({"offset_alignment": 0})", "offset_alignment");
  refused(R"({"quirks": [1]})", "quirks");
  refused(R"([])", "object");
}

TEST_CASE("limits are lowered key by key and never raised") {
  const DeviceLimits device = strong();
  const auto lowered = [&](const nlohmann::json& overrides) {
    return lower_limits(device, overrides);
  };
  CHECK(to_json(lowered(nullptr)) == to_json(device));
  CHECK(to_json(lowered(nlohmann::json::object())) == to_json(device));
  CHECK(lowered({{"shared_memory", 16384}}).shared_memory == 16384);
  CHECK(lowered({{"shared_memory", 16384}}).max_invocations == 1024);
  CHECK(lowered({{"offset_alignment", 256}}).offset_alignment == 256);
  CHECK(lowered({{"max_group_size", {64, 1, 1}}}).max_group_size[0] == 64);
  CHECK(lowered({{"subgroup_size", 0}}).subgroup_size == 0);
  CHECK_FALSE(lowered({{"fp16_arithmetic", false}}).fp16_arithmetic);
  CHECK(lowered({{"quirks", {"flat_groups_only"}}}).has_quirk("flat_groups_only"));

  const auto refused = [&](const nlohmann::json& overrides) {
    return error_of([&] { lower_limits(device, overrides); }).code == ExitCode::usage;
  };
  CHECK(refused({{"shared_memory", 65537}}));
  CHECK(refused({{"offset_alignment", 8}}));
  CHECK(refused({{"max_group_size", {64, 1, 65}}}));
  CHECK(refused({{"subgroup_size", 16}}));
  DeviceLimits weak = device;
  weak.fp16_arithmetic = false;
  CHECK(error_of([&] { lower_limits(weak, {{"fp16_arithmetic", true}}); }).code == ExitCode::usage);
}

TEST_CASE("every device file is complete and names its source") {
  const auto files = json_files(POCKET_SOURCE_DIR "/test/devices");
  CHECK(files.size() >= 14);
  std::set<std::string> names;
  for (const auto& path : files) {
    INFO(path);
    const nlohmann::json json = read_json(path);
    CHECK(json.at("schema") == "pocketformer-device-limits");
    CHECK(json.at("version") == 1);
    CHECK(json.at("source").get<std::string>().size() > 20);
    const DeviceLimits limits = limits_from_json(json);
    CHECK(names.insert(limits.name).second);
    // Nothing is left to a default: every key that limits have is in the file.
    const nlohmann::json complete = to_json(DeviceLimits());
    for (const auto& [key, value] : complete.items()) CHECK(json.contains(key));
    // What Vulkan guarantees to every device.
    CHECK(limits.max_invocations >= 128);
    CHECK(limits.shared_memory >= 16384);
    CHECK(limits.max_binding >= 1ull << 27);
    CHECK(limits.max_storage_buffers >= 4);
    CHECK(limits.max_push_constants >= 128);
    CHECK(limits.offset_alignment <= 256);
  }
}

TEST_CASE("every limits file lowers this device") {
  const auto files = json_files(POCKET_SOURCE_DIR "/test/limits");
  CHECK(files.size() >= 8);
  for (const auto& path : files) {
    INFO(path);
    const DeviceLimits& device = shared_device().limits();
    CHECK(to_json(lower_limits(device, read_json(path))) != to_json(device));
  }
}

}  // namespace pocket::test
