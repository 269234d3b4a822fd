// `pre_tokenizer` of tokenizer.json: cuts normalised text into the words that the model encodes.
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

// null, ByteLevel, Split, Digits, Punctuation, Whitespace, WhitespaceSplit, Metaspace, Sequence.
class PreTokenizer {
 public:
  PreTokenizer() = default;
  // Error bad_input names an unknown type.
  explicit PreTokenizer(const nlohmann::json& json);

  // text must be valid UTF-8 and not empty. first: the whole text that is encoded begins with it.
  std::vector<std::string> apply(std::string_view text, bool first) const;

  // Whether a step asks if a word begins the whole text; and if so after other steps.
  bool needs_first() const { return needs_first_; }
  bool needs_first_of_pieces() const { return needs_first_of_pieces_; }

 private:
  void add(const nlohmann::json& json, int depth);
  void add_split(Regex regex, SplitBehavior behavior, bool invert);

  void add_metaspace(const nlohmann::json& json);

  struct Word {
    std::string text;
    bool first;
  };
  using Words = std::vector<Word>;
  std::vector<std::function<void(const Word&, Words&)>> steps_;  // one word -> its pieces
  bool needs_first_ = false;
  bool needs_first_of_pieces_ = false;
};

}  // namespace pocket
