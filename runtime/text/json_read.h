// Checked reading of tokenizer JSON: every wrong type or missing key is Error bad_input by name.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "runtime/base/error.h"

namespace pocket::json_read {

using Json = nlohmann::json;

[[noreturn]] inline void refuse(const std::string& what) {
  throw Error(ExitCode::bad_input, "tokenizer: " + what);
}

// "tokenizer: <kind> '<name>' is not supported; ..."
[[noreturn]] inline void unsupported(const std::string& kind, const std::string& name) {
  refuse(kind + " '" + name.substr(0, 80) +
         "' is not supported; only BPE and Unigram tokenizers and their usual parts are");
}

// Null when absent.
inline const Json& value(const Json& object, std::string_view key) {
  static const Json null;
  if (!object.is_object()) refuse("an object is expected where '" + std::string(key) + "' is read");
  const auto it = object.find(key);
  return it == object.end() ? null : *it;
}

inline std::string text(const Json& object, std::string_view key) {
  const Json& found = value(object, key);
  if (!found.is_string()) refuse("'" + std::string(key) + "' must be a string");
  return found.get<std::string>();
}

// Absent or null: the default.
inline std::string text_or(const Json& object, std::string_view key, const std::string& otherwise) {
  return value(object, key).is_null() ? otherwise : text(object, key);
}

inline bool flag_or(const Json& object, std::string_view key, bool otherwise) {
  const Json& found = value(object, key);
  if (found.is_null()) return otherwise;
  if (!found.is_boolean()) refuse("'" + std::string(key) + "' must be true or false");
  return found.get<bool>();
}

inline bool flag(const Json& object, std::string_view key) {
  if (!value(object, key).is_boolean()) refuse("'" + std::string(key) + "' must be true or false");
  return flag_or(object, key, false);
}

inline const Json& array(const Json& object, std::string_view key) {
  const Json& found = value(object, key);
  if (!found.is_array()) refuse("'" + std::string(key) + "' must be an array");
  return found;
}

// Token ids end at 2^24: no vocabulary comes near, and a hostile id must not size a table.
inline constexpr int32_t kMaxTokenId = (1 << 24) - 1;

inline int32_t token_id(const Json& found, const std::string& what) {
  if (!found.is_number_integer() || found < 0 || found > kMaxTokenId) {
    refuse("the id of " + what.substr(0, 80) + " must be an integer from 0 to 16777215");
  }
  return found.get<int32_t>();
}

inline size_t count(const Json& object, std::string_view key) {
  const Json& found = value(object, key);
  if (!found.is_number_integer() || found < 0 || found > 1000000) {
    refuse("'" + std::string(key) + "' must be an integer from 0 to 1000000");
  }
  return found.get<size_t>();
}

inline std::string one_character(const Json& object, std::string_view key) {
  std::string found = text(object, key);
  size_t characters = 0;
  for (const char c : found) characters += (static_cast<unsigned char>(c) & 0xC0u) != 0x80u;
  if (characters != 1) refuse("'" + std::string(key) + "' must be one character");
  return found;
}

}  // namespace pocket::json_read
