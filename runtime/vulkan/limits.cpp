#include "runtime/vulkan/limits.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "runtime/base/error.h"

namespace pocket {
namespace {

// How the smaller of two devices is told by a key.
enum class Weaker { smaller, larger };

// One visitor lists every numeric key once: reading, writing and lowering follow it.
template <typename Limits, typename Visit>
void visit_numbers(Limits& limits, Visit&& visit) {
  visit("max_invocations", limits.max_invocations, Weaker::smaller);
  visit("shared_memory", limits.shared_memory, Weaker::smaller);
  visit("max_binding", limits.max_binding, Weaker::smaller);
  visit("max_storage_buffers", limits.max_storage_buffers, Weaker::smaller);
  visit("max_push_constants", limits.max_push_constants, Weaker::smaller);
  visit("offset_alignment", limits.offset_alignment, Weaker::larger);
  visit("max_texels", limits.max_texels, Weaker::smaller);
}

template <typename Limits, typename Visit>
void visit_triples(Limits& limits, Visit&& visit) {
  visit("max_group_size", limits.max_group_size);
  visit("max_group_count", limits.max_group_count);
}

template <typename Limits, typename Visit>
void visit_features(Limits& limits, Visit&& visit) {
  visit("fp16_arithmetic", limits.fp16_arithmetic);
  visit("storage_16bit", limits.storage_16bit);
  visit("storage_8bit", limits.storage_8bit);
  visit("dot_product", limits.dot_product);
  visit("dot_signed", limits.dot_signed);
  visit("dot_mixed", limits.dot_mixed);
}

[[noreturn]] void bad_key(const std::string& key, const std::string& problem) {
  throw Error(ExitCode::bad_input, "device limits: the key \"" + key + "\" " + problem);
}

template <typename Number>
Number read_number(const nlohmann::json& value, const std::string& key) {
  if (!value.is_number_integer() ||
      (value.is_number_integer() && !value.is_number_unsigned() && value.get<int64_t>() < 0)) {
    bad_key(key, "must be a whole number that is not negative");
  }
  const uint64_t number = value.get<uint64_t>();
  if (number > std::numeric_limits<Number>::max()) {
    bad_key(key, "is " + std::to_string(number) + ", more than fits");
  }
  return static_cast<Number>(number);
}

void read_triple(const nlohmann::json& value, const std::string& key, uint32_t (&out)[3]) {
  if (!value.is_array() || value.size() != 3) bad_key(key, "must be an array of three numbers");
  for (size_t i = 0; i < 3; ++i) out[i] = read_number<uint32_t>(value[i], key);
}

// Keys that say where a file comes from and that carry no limit.
bool is_comment(const std::string& key) {
  return key == "schema" || key == "version" || key == "source";
}

bool is_power_of_two(uint64_t value) { return value != 0 && (value & (value - 1)) == 0; }

[[noreturn]] void raised(const std::string& key, const std::string& asked, const std::string& has) {
  throw Error(ExitCode::usage, "--limits asks for " + key + " " + asked + " but the device has " +
                                   has + "; limits can be lowered only");
}

std::string triple_text(const uint32_t (&values)[3]) {
  return "[" + std::to_string(values[0]) + ", " + std::to_string(values[1]) + ", " +
         std::to_string(values[2]) + "]";
}

}  // namespace

bool DeviceLimits::has_quirk(std::string_view flag) const {
  return std::find(quirks.begin(), quirks.end(), flag) != quirks.end();
}

nlohmann::json to_json(const DeviceLimits& limits) {
  nlohmann::json json;
  json["name"] = limits.name;
  visit_numbers(limits, [&](const char* key, auto value, Weaker) { json[key] = value; });
  visit_triples(limits, [&](const char* key, const uint32_t(&value)[3]) {
    json[key] = {value[0], value[1], value[2]};
  });
  json["subgroup_size"] = limits.subgroup_size;
  visit_features(limits, [&](const char* key, bool value) { json[key] = value; });
  json["quirks"] = limits.quirks;
  return json;
}

DeviceLimits limits_from_json(const nlohmann::json& json) {
  if (!json.is_object()) throw Error(ExitCode::bad_input, "device limits must be a JSON object");
  DeviceLimits limits;
  for (const auto& [key, value] : json.items()) {
    bool known = is_comment(key);
    visit_numbers(limits, [&](const char* name, auto& number, Weaker) {
      if (key != name) return;
      number = read_number<std::remove_reference_t<decltype(number)>>(value, key);
      known = true;
    });
    visit_triples(limits, [&](const char* name, uint32_t(&triple)[3]) {
      if (key != name) return;
      read_triple(value, key, triple);
      known = true;
    });
    visit_features(limits, [&](const char* name, bool& feature) {
      if (key != name) return;
      if (!value.is_boolean()) bad_key(key, "must be true or false");
      feature = value.get<bool>();
      known = true;
    });
    if (key == "name") {
      if (!value.is_string()) bad_key(key, "must be a string");
      limits.name = value.get<std::string>();
      known = true;
    } else if (key == "subgroup_size") {
      limits.subgroup_size = read_number<uint32_t>(value, key);
      if (limits.subgroup_size != 0 && !is_power_of_two(limits.subgroup_size)) {
        bad_key(key, "must be 0 or a power of two");
      }
      known = true;
    } else if (key == "quirks") {
      if (!value.is_array()) bad_key(key, "must be an array of strings");
      for (const nlohmann::json& flag : value) {
        if (!flag.is_string()) bad_key(key, "must be an array of strings");
        limits.quirks.push_back(flag.get<std::string>());
      }
      known = true;
    }
    if (!known) bad_key(key, "is unknown");
  }
  if (!is_power_of_two(limits.offset_alignment)) {
    bad_key("offset_alignment", "must be a power of two");
  }
  return limits;
}

DeviceLimits lower_limits(const DeviceLimits& device, const nlohmann::json& overrides) {
  if (overrides.is_null()) return device;
  const DeviceLimits asked = limits_from_json(overrides);
  DeviceLimits result = device;

  const auto given = [&](const char* key) { return overrides.contains(key); };
  // The visitors walk one record at a time, so the asked values are looked up in parallel order.
  std::vector<uint64_t> numbers;
  visit_numbers(asked, [&](const char*, auto value, Weaker) { numbers.push_back(value); });
  size_t index = 0;
  visit_numbers(result, [&](const char* key, auto& number, Weaker weaker) {
    const uint64_t value = numbers[index++];
    if (!given(key)) return;
    const bool weaker_or_equal = weaker == Weaker::smaller ? value <= number : value >= number;
    if (!weaker_or_equal) raised(key, std::to_string(value), std::to_string(number));
    number = static_cast<std::remove_reference_t<decltype(number)>>(value);
  });

  std::vector<const uint32_t*> triples;
  visit_triples(asked, [&](const char*, const uint32_t(&value)[3]) { triples.push_back(value); });
  index = 0;
  visit_triples(result, [&](const char* key, uint32_t(&triple)[3]) {
    const uint32_t* value = triples[index++];
    if (!given(key)) return;
    for (size_t i = 0; i < 3; ++i) {
      if (value[i] > triple[i]) {
        const uint32_t copy[3] = {value[0], value[1], value[2]};
        raised(key, triple_text(copy), triple_text(triple));
      }
      triple[i] = value[i];
    }
  });

  if (given("subgroup_size")) {
    if (asked.subgroup_size != 0 && asked.subgroup_size != device.subgroup_size) {
      throw Error(ExitCode::usage, "--limits asks for subgroup_size " +
                                       std::to_string(asked.subgroup_size) +
                                       " but only 0 or the device's " +
                                       std::to_string(device.subgroup_size) + " can be used");
    }
    result.subgroup_size = asked.subgroup_size;
  }

  std::vector<bool> features;
  visit_features(asked, [&](const char*, bool value) { features.push_back(value); });
  index = 0;
  visit_features(result, [&](const char* key, bool& feature) {
    const bool value = features[index++];
    if (!given(key)) return;
    if (value && !feature) raised(key, "true", "false");
    feature = value;
  });

  for (const std::string& flag : asked.quirks) {
    if (!result.has_quirk(flag)) result.quirks.push_back(flag);
  }
  return result;
}

}  // namespace pocket
