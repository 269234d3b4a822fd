// `added_tokens` of tokenizer.json: texts that are found before anything is cut or merged.
#pragma once

#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "runtime/text/normalizer.h"
#include "runtime/text/token_model.h"

namespace pocket {

struct AddedToken {
  int32_t id;
  std::string content;
  bool single_word;     // only where no word character touches it
  bool lstrip;          // swallows white space on its left
  bool rstrip;          // ... and on its right
  bool normalized;      // found in the normalised text, as its own normalised form
  bool special;         // left out by decode(skip_special)
  std::string pattern;  // what is searched, and what the decoder sees
};

class AddedTokens {
 public:
  // A stretch of text, or an added token.
  struct Piece {
    std::string text;
    const AddedToken* token = nullptr;
    bool first = false;  // a stretch with which the whole text begins
  };

  AddedTokens() = default;
  // Ids are given as the tokenizers package gives them: the model's id for a text that it knows,
  // else the next free one. Error bad_input when the file states another id.
  AddedTokens(const nlohmann::json& json, const TokenModel& model, const Normalizer& normalizer);

  // Finds the tokens of the raw text, normalises what lies between, finds the normalised ones.
  std::vector<Piece> extract(std::string_view text, const Normalizer& normalizer) const;

  const AddedToken* find(int32_t id) const;
  const AddedToken* find(std::string_view content) const;
  bool is_special(std::string_view text) const;  // text is the content of a special token
  int32_t max_id() const { return max_id_; }
  const std::vector<AddedToken>& all() const { return tokens_; }

 private:
  // Tokens of one kind by first byte, longest first.
  using Matcher = std::array<std::vector<size_t>, 256>;
  void find_in(std::string_view text, bool first, const Matcher& matcher,
               std::vector<Piece>& out) const;
  const AddedToken* match_at(std::string_view text, const Matcher& matcher, size_t pos) const;

  std::vector<AddedToken> tokens_;
  std::unordered_map<int32_t, size_t> by_id_;
  std::unordered_map<std::string, size_t, StringHash, std::equal_to<>> by_content_;
  Matcher raw_, normalized_;
  int32_t max_id_ = -1;
};

}  // namespace pocket
