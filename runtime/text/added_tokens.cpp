#include "runtime/text/added_tokens.h"

#include <algorithm>

#include "runtime/text/json_read.h"
#include "runtime/text/regex.h"
#include "runtime/text/unicode.h"

namespace pocket {

namespace {

const Regex& word_at_start() {
  static const Regex regex = Regex::pcre2("\\A[" + character_class("rust:word") + "]");
  return regex;
}

// Start of the last character of text (valid UTF-8, not empty).
size_t last_character(std::string_view text) {
  size_t pos = text.size() - 1;
  while (pos > 0 && (static_cast<unsigned char>(text[pos]) & 0xC0u) == 0x80u) --pos;
  return pos;
}

bool starts_with_word(std::string_view text) {
  return word_at_start().matches(text.substr(0, utf8_step(text, 0).bytes));
}
bool ends_with_word(std::string_view text) {
  return starts_with_word(text.substr(last_character(text)));
}

size_t white_space_at_end(std::string_view text) {  // where it begins
  while (!text.empty()) {
    const size_t pos = last_character(text);
    if (!is_white_space(utf8_step(text, pos).code_point)) break;
    text = text.substr(0, pos);
  }
  return text.size();
}

size_t white_space_at_start(std::string_view text) {  // its bytes
  size_t pos = 0;
  while (pos < text.size()) {
    const Utf8Step step = utf8_step(text, pos);
    if (!is_white_space(step.code_point)) break;
    pos += step.bytes;
  }
  return pos;
}

}  // namespace

AddedTokens::AddedTokens(const nlohmann::json& json, const TokenModel& model,
                         const Normalizer& normalizer) {
  if (json.is_null()) return;
  if (!json.is_array()) json_read::refuse("'added_tokens' must be an array");
  const auto vocabulary_size = static_cast<int32_t>(model.vocabulary_size());
  int32_t next_id = vocabulary_size;
  tokens_.reserve(json.size());
  for (const auto& item : json) {
    AddedToken token{};
    token.content = json_read::text(item, "content");
    if (token.content.empty()) continue;
    token.id = json_read::token_id(json_read::value(item, "id"), "'" + token.content + "'");
    token.single_word = json_read::flag(item, "single_word");
    token.lstrip = json_read::flag(item, "lstrip");
    token.rstrip = json_read::flag(item, "rstrip");
    token.normalized = json_read::flag(item, "normalized");
    token.special = json_read::flag(item, "special");
    token.pattern = token.normalized ? normalizer.apply(token.content) : token.content;
    if (by_content_.contains(token.content)) {
      json_read::refuse("added token '" + token.content.substr(0, 80) + "' is listed twice");
    }
    const auto known = model.id_of(token.content);
    const int32_t id = known ? *known : next_id++;
    if (id != token.id) {
      json_read::refuse("added token '" + token.content.substr(0, 80) + "' states id " +
                        std::to_string(token.id) + " but takes id " + std::to_string(id));
    }
    by_id_.emplace(id, tokens_.size());
    by_content_.emplace(token.content, tokens_.size());
    max_id_ = std::max(max_id_, id);
    tokens_.push_back(std::move(token));
  }
  for (size_t i = 0; i < tokens_.size(); ++i) {
    const AddedToken& token = tokens_[i];
    if (token.pattern.empty()) {
      json_read::refuse("added token '" + token.content.substr(0, 80) + "' normalises to nothing");
    }
    Matcher& matcher = token.normalized ? normalized_ : raw_;
    auto& bucket = matcher[static_cast<unsigned char>(token.pattern[0])];
    const auto at = std::find_if(bucket.begin(), bucket.end(), [&](size_t other) {
      return tokens_[other].pattern.size() <= token.pattern.size();
    });
    bucket.insert(at, i);
  }
}

const AddedToken* AddedTokens::match_at(std::string_view text, const Matcher& matcher,
                                        size_t pos) const {
  for (const size_t i : matcher[static_cast<unsigned char>(text[pos])]) {
    if (text.substr(pos).starts_with(tokens_[i].pattern)) return &tokens_[i];
  }
  return nullptr;
}

// Leftmost, longest, not overlapping. A rejected match is skipped as a whole, and white space that
// rstrip swallowed can still begin the next token: both as in the package.
void AddedTokens::find_in(std::string_view text, bool first, const Matcher& matcher,
                          std::vector<Piece>& out) const {
  size_t done = 0;  // everything before is in out
  const auto add_text = [&](size_t begin, size_t end) {
    if (begin < end) {
      out.push_back({std::string(text.substr(begin, end - begin)), nullptr, first && begin == 0});
    }
  };
  for (size_t pos = 0; pos < text.size();) {
    const AddedToken* token = match_at(text, matcher, pos);
    if (token == nullptr) {
      ++pos;
      continue;
    }
    size_t begin = pos, end = pos + token->pattern.size();
    pos = end;
    if (token->single_word) {
      const bool clear = (begin == 0 || !ends_with_word(text.substr(0, begin))) &&
                         (end == text.size() || !starts_with_word(text.substr(end)));
      if (!clear) continue;
    }
    if (token->lstrip) begin = std::max(white_space_at_end(text.substr(0, begin)), done);
    if (token->rstrip) end += white_space_at_start(text.substr(end));
    add_text(done, begin);
    out.push_back({"", token, false});
    done = end;
  }
  add_text(done, text.size());
}

std::vector<AddedTokens::Piece> AddedTokens::extract(std::string_view text,
                                                     const Normalizer& normalizer) const {
  std::vector<Piece> raw, out;
  find_in(text, true, raw_, raw);
  for (Piece& piece : raw) {
    if (piece.token != nullptr) {
      out.push_back(std::move(piece));
    } else if (normalizer.empty()) {
      find_in(piece.text, piece.first, normalized_, out);
    } else {
      find_in(normalizer.apply(piece.text), piece.first, normalized_, out);
    }
  }
  return out;
}

const AddedToken* AddedTokens::find(int32_t id) const {
  const auto it = by_id_.find(id);
  return it == by_id_.end() ? nullptr : &tokens_[it->second];
}

const AddedToken* AddedTokens::find(std::string_view content) const {
  const auto it = by_content_.find(content);
  return it == by_content_.end() ? nullptr : &tokens_[it->second];
}

bool AddedTokens::is_special(std::string_view text) const {
  const AddedToken* token = find(text);
  return token != nullptr && token->special;
}

}  // namespace pocket
