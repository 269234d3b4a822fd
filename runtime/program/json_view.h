// A JSON value with the path that led to it: every access checks type and range, and refuses with
// a sentence that names the place.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/base/error.h"

namespace pocket {

class JsonView {
 public:
  JsonView(const nlohmann::json& value, std::string path)
      : value_(&value), path_(std::move(path)) {}

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ExitCode::bad_input, "'" + path_ + "' " + what + ": convert the model again.");
  }

  const std::string& path() const { return path_; }
  const nlohmann::json& value() const { return *value_; }

  // Refuses keys that this reader does not know: they would change the meaning.
  void keys(std::initializer_list<const char*> known) const {
    if (!value_->is_object()) fail("must be an object");
    for (const auto& item : value_->items()) {
      bool found = false;
      for (const char* key : known) found = found || item.key() == key;
      if (!found) fail("has the unknown key '" + item.key().substr(0, 64) + "'");
    }
  }

  bool has(const char* key) const { return value_->is_object() && value_->contains(key); }

  JsonView operator[](const char* key) const {
    if (!value_->is_object()) fail("must be an object");
    const auto found = value_->find(key);
    if (found == value_->end()) fail(std::string("misses the key '") + key + "'");
    return {*found, path_ + "." + key};
  }

  std::vector<JsonView> list() const {
    if (!value_->is_array()) fail("must be a list");
    std::vector<JsonView> items;
    items.reserve(value_->size());
    for (size_t i = 0; i < value_->size(); ++i) {
      items.emplace_back((*value_)[i], path_ + "[" + std::to_string(i) + "]");
    }
    return items;
  }

  std::string text() const {
    if (!value_->is_string()) fail("must be a text");
    return value_->get<std::string>();
  }

  bool boolean() const {
    if (!value_->is_boolean()) fail("must be true or false");
    return value_->get<bool>();
  }

  double real() const {
    if (!value_->is_number()) fail("must be a number");
    return value_->get<double>();
  }

  float real32() const {
    const double wide = real();
    if (!(wide >= -std::numeric_limits<float>::max() &&
          wide <= std::numeric_limits<float>::max())) {
      fail("does not fit a float");
    }
    return static_cast<float>(wide);
  }

  int64_t integer(int64_t low, int64_t high) const {
    if (!value_->is_number_integer()) fail("must be an integer");
    const bool huge = value_->is_number_unsigned() &&
                      value_->get<uint64_t>() > uint64_t(std::numeric_limits<int64_t>::max());
    const int64_t number = huge ? 0 : value_->get<int64_t>();
    if (huge || number < low || number > high) {
      fail("is " + value_->dump() + ", allowed are " + std::to_string(low) + " to " +
           std::to_string(high));
    }
    return number;
  }

  int32_t integer32(int32_t low = std::numeric_limits<int32_t>::min(),
                    int32_t high = std::numeric_limits<int32_t>::max()) const {
    return static_cast<int32_t>(integer(low, high));
  }

  uint64_t size() const {
    return static_cast<uint64_t>(integer(0, std::numeric_limits<int64_t>::max()));
  }

  // 16 hexadecimal digits: JSON numbers hold 64 bits only in some readers.
  uint64_t hash() const {
    const std::string digits = text();
    uint64_t value = 0;
    if (digits.size() != 16) fail("must be 16 hexadecimal digits");
    for (const char c : digits) {
      const bool decimal = c >= '0' && c <= '9', letter = c >= 'a' && c <= 'f';
      if (!decimal && !letter) fail("must be 16 hexadecimal digits");
      value = value << 4 | static_cast<uint64_t>(decimal ? c - '0' : c - 'a' + 10);
    }
    return value;
  }

  // The enumerator with this name, out of first..last.
  template <typename Enum>
  Enum one_of(const char* (*name)(Enum), Enum last) const {
    const std::string wanted = text();
    for (int i = 0; i <= static_cast<int>(last); ++i) {
      if (wanted == name(static_cast<Enum>(i))) return static_cast<Enum>(i);
    }
    fail("is the unknown name '" + wanted.substr(0, 64) + "'");
  }

 private:
  const nlohmann::json* value_;
  std::string path_;
};

}  // namespace pocket
