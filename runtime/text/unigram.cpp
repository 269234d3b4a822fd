#include "runtime/text/unigram.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "runtime/text/json_read.h"
#include "runtime/text/unicode.h"

namespace pocket {

namespace {

constexpr double kUnknownPenalty = 10;
constexpr size_t kMaxCachedWordBytes = 256;
constexpr size_t kMaxVocabularyBytes = size_t{16} << 20;  // the trie holds many times as much

}  // namespace

Unigram::Unigram(const nlohmann::json& model) {
  for (const auto& [key, value] : model.items()) {
    if (key != "type" && key != "vocab" && key != "unk_id" && key != "byte_fallback") {
      if (!value.is_null()) json_read::unsupported("Unigram setting", key);
    }
  }
  const nlohmann::json& vocabulary = json_read::array(model, "vocab");
  if (vocabulary.empty() || vocabulary.size() > static_cast<size_t>(json_read::kMaxTokenId)) {
    json_read::refuse("'vocab' must have from 1 to 16777215 tokens, not " +
                      std::to_string(vocabulary.size()));
  }
  double least = std::numeric_limits<double>::infinity();
  size_t bytes = 0;
  for (const auto& item : vocabulary) {
    if (!item.is_array() || item.size() != 2 || !item[0].is_string() || !item[1].is_number()) {
      json_read::refuse("an entry of 'vocab' must be a token and its score");
    }
    tokens_.push_back(item[0].get<std::string>());
    scores_.push_back(item[1].get<double>());
    if (!std::isfinite(scores_.back())) json_read::refuse("a score must be a finite number");
    least = std::min(least, scores_.back());
    bytes += tokens_.back().size();
  }
  if (bytes > kMaxVocabularyBytes) {
    json_read::refuse("the tokens of 'vocab' have " + std::to_string(bytes) +
                      " bytes; at most 16777216");
  }
  unknown_score_ = least - kUnknownPenalty;
  trie_ = ByteTrie(tokens_);
  const nlohmann::json& unknown = json_read::value(model, "unk_id");
  if (!unknown.is_null()) {
    unknown_ = json_read::token_id(unknown, "the unknown token");
    if (unknown_ > max_id()) {
      json_read::refuse("unk_id " + std::to_string(unknown_) + " is not in the vocabulary");
    }
  }
  if (json_read::flag_or(model, "byte_fallback", false)) {
    byte_tokens_.resize(256);
    for (unsigned b = 0; b < 256; ++b) byte_tokens_[b] = id_of(byte_token_name(b)).value_or(-1);
  }
}

std::optional<int32_t> Unigram::id_of(std::string_view token) const {
  if (!token.empty()) return trie_.find(token);
  const auto it = std::find(tokens_.rbegin(), tokens_.rend(), token);
  if (it == tokens_.rend()) return std::nullopt;
  return static_cast<int32_t>(tokens_.rend() - it) - 1;
}

const std::string* Unigram::token_of(int32_t id) const {
  return id >= 0 && id <= max_id() ? &tokens_[static_cast<size_t>(id)] : nullptr;
}

// Forward over the characters; a path replaces another one only when it is better. Neighbouring
// unknown characters come back as one piece.
std::vector<Unigram::Piece> Unigram::best_cut(std::string_view word) const {
  constexpr size_t kUnreached = static_cast<size_t>(-1);
  struct Node {  // best path that ends here
    double score = 0;
    size_t from = kUnreached;
    bool unknown = false;
  };
  std::vector<Node> ends(word.size() + 1);
  for (size_t begin = 0; begin < word.size();) {
    const double before = ends[begin].score;
    const size_t character = utf8_step(word, begin).bytes;
    const auto reach = [&](size_t bytes, double score, bool unknown) {
      Node& node = ends[begin + bytes];
      if (node.from == kUnreached || before + score > node.score) {
        node = {before + score, begin, unknown};
      }
    };
    bool single = false;
    trie_.prefixes(word.substr(begin), [&](size_t bytes, int32_t id) {
      reach(bytes, scores_[static_cast<size_t>(id)], id == unknown_);
      single |= bytes == character;
    });
    if (!single) reach(character, unknown_score_, true);
    begin += character;
  }
  std::vector<Piece> out;
  bool joins = false;  // the piece after is unknown
  for (size_t end = word.size(); end > 0; end = ends[end].from) {
    const Node& node = ends[end];
    if (joins && node.unknown) {
      out.back().begin = node.from;
    } else {
      out.push_back({node.from, end});
    }
    joins = node.unknown && unknown_ >= 0;
  }
  std::reverse(out.begin(), out.end());
  return out;
}

void Unigram::append_piece(std::string_view piece, std::vector<int32_t>& out) const {
  if (const auto id = id_of(piece)) {
    out.push_back(*id);
    return;
  }
  const auto byte_token = [&](char b) { return byte_tokens_[static_cast<unsigned char>(b)]; };
  if (!byte_tokens_.empty() &&
      std::ranges::all_of(piece, [&](char b) { return byte_token(b) >= 0; })) {
    for (const char b : piece) out.push_back(byte_token(b));
    return;
  }
  if (unknown_ < 0) {
    json_read::refuse("the text holds a character that the vocabulary lacks, and it has no unk_id");
  }
  out.push_back(unknown_);
}

void Unigram::encode(std::string_view word, std::vector<int32_t>& out, Cache& cache) const {
  const auto it = cache.find(word);
  if (it != cache.end()) {
    out.insert(out.end(), it->second.begin(), it->second.end());
    return;
  }
  std::vector<int32_t> ids;
  for (const Piece& piece : best_cut(word)) {
    append_piece(word.substr(piece.begin, piece.end - piece.begin), ids);
  }
  out.insert(out.end(), ids.begin(), ids.end());
  if (word.size() <= kMaxCachedWordBytes) cache.emplace(word, std::move(ids));
}

}  // namespace pocket
