// `decoder` of tokenizer.json: the texts of tokens back to one text.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/text/regex.h"

namespace pocket {

// null (tokens joined by spaces), ByteLevel, Sequence, Fuse, Replace, ByteFallback, Strip.
class Decoder {
 public:
  Decoder() = default;
  // Error bad_input names an unknown type.
  explicit Decoder(const nlohmann::json& json);

  // Valid UTF-8; bytes that form no character become U+FFFD.
  std::string apply(std::vector<std::string> tokens) const;

  // What one token adds, as raw bytes. Steps that need the whole text (a Strip after Fuse) are left
  // out.
  std::string bytes_of(const std::string& token) const;

 private:
  enum class Kind { byte_level, fuse, replace, byte_fallback, strip };
  struct Step {
    Kind kind;
    Regex pattern = {};          // replace
    std::string content = {};    // replace: the new text; strip: the character
    size_t start = 0, stop = 0;  // strip: at most so many characters
  };
  void add(const nlohmann::json& json, int depth);

  bool join_with_spaces_ = true;
  std::vector<Step> steps_;
};

}  // namespace pocket
