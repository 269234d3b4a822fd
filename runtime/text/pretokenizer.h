// `pre_tokenizer` of tokenizer.json: cuts normalised text into the words that BPE merges within.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/text/regex.h"

namespace pocket {

// What happens to the pieces that a pattern matches.
enum class SplitBehavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };

// The pieces of text, in order; empty ones are left out. invert: what lies between the matches
// counts as matched.
std::vector<std::string_view> split(std::string_view text, const Regex& regex,
                                    SplitBehavior behavior, bool invert);

// null, ByteLevel, Split, Digits, Punctuation, Whitespace, WhitespaceSplit, Sequence.
class PreTokenizer {
 public:
  PreTokenizer() = default;
  // Error bad_input names an unknown type.
  explicit PreTokenizer(const nlohmann::json& json);

  // text must be valid UTF-8 and not empty.
  std::vector<std::string> apply(std::string_view text) const;

 private:
  void add(const nlohmann::json& json, int depth);
  void add_split(Regex regex, SplitBehavior behavior, bool invert);

  using Words = std::vector<std::string>;
  std::vector<std::function<void(const std::string&, Words&)>> steps_;  // one word -> its pieces
};

}  // namespace pocket
