// The normaliser that sentencepiece compiles into its models: a dictionary of replacements.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pocket {

// `precompiled_charsmap` of tokenizer.json: bytes of the trie (u32), a double-array trie (units of
// darts-clone, u32 each), then the replacements, each ended by NUL. All little-endian.
class Charsmap {
 public:
  // base64: the field as it stands in the file. Error bad_input when it is malformed.
  explicit Charsmap(std::string_view base64);

  // Graphemes of less than 6 bytes as wholes, all else character by character: each is replaced by
  // what the map holds for the shortest prefix that it knows. text must be valid UTF-8.
  std::string apply(std::string_view text) const;

 private:
  std::optional<std::string_view> replacement(std::string_view text) const;

  std::vector<uint32_t> units_;
  std::string texts_;
};

}  // namespace pocket
