#include "runtime/text/pretokenizer.h"

#include <algorithm>

#include "runtime/text/byte_level.h"
#include "runtime/text/json_read.h"
#include "runtime/text/metaspace.h"
#include "runtime/text/pattern.h"
#include "runtime/text/unicode.h"

namespace pocket {

namespace {

constexpr std::string_view kByteLevelPattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

struct Piece {
  Span span;
  bool match;
};

// The whole text as alternating pieces, matched and not.
std::vector<Piece> pieces_of(std::string_view text, const Regex& regex) {
  std::vector<Piece> out;
  size_t from = 0;
  for (const Span match : regex.find_all(text)) {
    if (from != match.begin) out.push_back({{from, match.begin}, false});
    out.push_back({match, true});
    from = match.end;
  }
  if (from != text.size()) out.push_back({{from, text.size()}, false});
  return out;
}

// A matched piece joins the one before it, unless that one was matched as well.
void merge_into_neighbour(std::vector<Piece>& pieces) {
  std::vector<Piece> out;
  bool previous = false;
  for (const Piece& piece : pieces) {
    if (piece.match && !previous && !out.empty()) {
      out.back().span = {std::min(out.back().span.begin, piece.span.begin),
                         std::max(out.back().span.end, piece.span.end)};
    } else {
      out.push_back(piece);
    }
    previous = piece.match;
  }
  pieces = std::move(out);
}

void merge_equal(std::vector<Piece>& pieces) {
  std::vector<Piece> out;
  bool previous = false;
  for (const Piece& piece : pieces) {
    if (piece.match == previous && !out.empty()) {
      out.back().span.end = piece.span.end;
    } else {
      out.push_back(piece);
    }
    previous = piece.match;
  }
  pieces = std::move(out);
}

SplitBehavior read_behavior(const nlohmann::json& json) {
  const std::string name = json_read::text(json, "behavior");
  if (name == "Removed") return SplitBehavior::removed;
  if (name == "Isolated") return SplitBehavior::isolated;
  if (name == "MergedWithPrevious") return SplitBehavior::merged_with_previous;
  if (name == "MergedWithNext") return SplitBehavior::merged_with_next;
  if (name == "Contiguous") return SplitBehavior::contiguous;
  json_read::unsupported("split behavior", name);
}

}  // namespace

std::vector<std::string_view> split(std::string_view text, const Regex& regex,
                                    SplitBehavior behavior, bool invert) {
  std::vector<Piece> pieces = pieces_of(text, regex);
  if (invert) {
    for (Piece& piece : pieces) piece.match = !piece.match;
  }
  switch (behavior) {
    case SplitBehavior::removed:
      std::erase_if(pieces, [](const Piece& piece) { return piece.match; });
      break;
    case SplitBehavior::isolated:
      break;
    case SplitBehavior::merged_with_previous:
      merge_into_neighbour(pieces);
      break;
    case SplitBehavior::merged_with_next:
      std::reverse(pieces.begin(), pieces.end());
      merge_into_neighbour(pieces);
      std::reverse(pieces.begin(), pieces.end());
      break;
    case SplitBehavior::contiguous:
      merge_equal(pieces);
      break;
  }
  std::vector<std::string_view> out;
  out.reserve(pieces.size());
  for (const Piece& piece : pieces) {
    if (piece.span.begin == piece.span.end) continue;
    out.push_back(text.substr(piece.span.begin, piece.span.end - piece.span.begin));
  }
  return out;
}

PreTokenizer::PreTokenizer(const nlohmann::json& json) {
  if (!json.is_null()) add(json, 0);
}

void PreTokenizer::add_split(Regex regex, SplitBehavior behavior, bool invert) {
  steps_.push_back([=, pattern = std::move(regex)](const Word& word, Words& out) {
    for (const std::string_view piece : split(word.text, pattern, behavior, invert)) {
      out.push_back({std::string(piece), word.first && piece.data() == word.text.data()});
    }
  });
}

void PreTokenizer::add(const nlohmann::json& json, int depth) {
  const std::string type = json_read::text(json, "type");
  if (depth > 8) json_read::refuse("pre-tokenizers are nested deeper than 8");
  if (type == "Sequence") {
    for (const auto& item : json_read::array(json, "pretokenizers")) add(item, depth + 1);
  } else if (type == "ByteLevel") {
    json_read::flag(json, "trim_offsets");  // offsets are not kept
    if (json_read::flag(json, "add_prefix_space")) {
      steps_.push_back([](const Word& word, Words& out) {
        out.push_back({word.text.starts_with(' ') ? word.text : " " + word.text, word.first});
      });
    }
    if (json_read::flag_or(json, "use_regex", true)) {
      add_split(Regex::oniguruma(kByteLevelPattern), SplitBehavior::isolated, false);
    }
    steps_.push_back([](const Word& word, Words& out) {
      out.push_back({bytes_to_characters(word.text), word.first});
    });
  } else if (type == "Split") {
    add_split(read_pattern(json), read_behavior(json), json_read::flag(json, "invert"));
  } else if (type == "Digits") {
    add_split(Regex::pcre2("[" + character_class("rust:numeric") + "]"),
              json_read::flag(json, "individual_digits") ? SplitBehavior::isolated
                                                         : SplitBehavior::contiguous,
              false);
  } else if (type == "Punctuation") {
    add_split(Regex::pcre2("[" + character_class("rust:punctuation") + "]"),
              json.contains("behavior") ? read_behavior(json) : SplitBehavior::isolated, false);
  } else if (type == "Whitespace") {
    const std::string word = character_class("rust:word");
    add_split(Regex::pcre2("[" + word + "]+|[^" + word + std::string(kWhiteSpaceClass) + "]+"),
              SplitBehavior::removed, true);
  } else if (type == "WhitespaceSplit") {
    add_split(Regex::pcre2("[" + std::string(kWhiteSpaceClass) + "]"), SplitBehavior::removed,
              false);
  } else if (type == "Metaspace") {
    add_metaspace(json);
  } else {
    json_read::unsupported("pre-tokenizer", type);
  }
}

// Spaces become `replacement`, one is put before the word (always, never, or only before the first
// of the text), and words begin at each.
void PreTokenizer::add_metaspace(const nlohmann::json& json) {
  const std::string mark = json_read::one_character(json, "replacement");
  const std::string scheme = read_prepend_scheme(json);
  if (scheme == "first") {
    needs_first_ = true;
    needs_first_of_pieces_ |= !steps_.empty();
  }
  steps_.push_back([mark, scheme, space = Regex::literal(" ")](const Word& word, Words& out) {
    std::string text = replace_all(space, mark, word.text);
    if ((scheme == "always" || (scheme == "first" && word.first)) && !text.starts_with(mark)) {
      text.insert(0, mark);
    }
    out.push_back({std::move(text), word.first});
  });
  if (json_read::flag_or(json, "split", true)) {
    add_split(Regex::literal(mark), SplitBehavior::merged_with_next, false);
  }
}

std::vector<std::string> PreTokenizer::apply(std::string_view text, bool first) const {
  Words words{{std::string(text), first}};
  for (const auto& step : steps_) {
    Words next;
    next.reserve(words.size());
    for (const Word& word : words) step(word, next);
    words = std::move(next);
  }
  std::vector<std::string> out;
  out.reserve(words.size());
  for (Word& word : words) out.push_back(std::move(word.text));
  return out;
}

}  // namespace pocket
