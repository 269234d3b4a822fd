#include "runtime/text/bpe.h"

#include <algorithm>
#include <queue>

#include "runtime/text/json_read.h"
#include "runtime/text/unicode.h"

namespace pocket {

namespace {

constexpr size_t kMaxCachedWordBytes = 256;

uint64_t pair_key(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

void refuse_affix(const nlohmann::json& model, const std::string& key) {
  const std::string found = json_read::text_or(model, key, "");
  if (!found.empty()) json_read::unsupported("BPE " + key, found);
}

}  // namespace

Bpe::Bpe(const nlohmann::json& model) {
  const nlohmann::json& dropout = json_read::value(model, "dropout");
  if (!dropout.is_null() && !(dropout.is_number() && dropout == 0)) {
    json_read::unsupported("BPE dropout", dropout.dump());
  }
  refuse_affix(model, "continuing_subword_prefix");
  refuse_affix(model, "end_of_word_suffix");
  read_vocabulary(json_read::value(model, "vocab"));
  read_merges(json_read::array(model, "merges"));

  const std::string unknown = json_read::text_or(model, "unk_token", "");
  if (!unknown.empty()) {
    const auto id = id_of(unknown);
    if (!id) json_read::refuse("unk_token '" + unknown + "' is not in the vocabulary");
    unknown_ = *id;
  }
  fuse_unknown_ = json_read::flag_or(model, "fuse_unk", false);
  ignore_merges_ = json_read::flag_or(model, "ignore_merges", false);
  if (json_read::flag_or(model, "byte_fallback", false)) {
    byte_tokens_.resize(256);
    for (unsigned b = 0; b < 256; ++b) byte_tokens_[b] = id_of(byte_token_name(b)).value_or(-1);
  }
}

void Bpe::read_vocabulary(const nlohmann::json& vocabulary) {
  if (!vocabulary.is_object() || vocabulary.empty()) {
    json_read::refuse("'vocab' must be an object with at least one token");
  }
  const int64_t limit = 4 * static_cast<int64_t>(vocabulary.size()) + 65536;
  ids_.reserve(vocabulary.size());
  int32_t max_id = -1;
  for (const auto& [token, id_json] : vocabulary.items()) {
    const int32_t id = json_read::token_id(id_json, "token '" + token + "'");
    if (id > limit) {
      json_read::refuse("id " + std::to_string(id) +
                        " is too far from the size of the vocabulary, " +
                        std::to_string(vocabulary.size()));
    }
    ids_.emplace(token, id);
    max_id = std::max(max_id, id);
  }
  tokens_.resize(static_cast<size_t>(max_id) + 1);
  for (const auto& [token, id] : ids_) {
    const std::string*& slot = tokens_[static_cast<size_t>(id)];
    if (slot != nullptr) {
      json_read::refuse("tokens '" + *slot + "' and '" + token + "' share the id " +
                        std::to_string(id));
    }
    slot = &token;
  }
}

void Bpe::read_merges(const nlohmann::json& merges) {
  merges_.reserve(merges.size());
  uint32_t rank = 0;
  for (const auto& item : merges) {
    std::string left, right;
    if (item.is_string()) {
      const auto& line = item.get_ref<const std::string&>();
      if (line.starts_with("#version")) continue;
      const size_t space = line.find(' ');
      if (space == std::string::npos || line.find(' ', space + 1) != std::string::npos) {
        json_read::refuse("merge '" + line.substr(0, 80) + "' must be two tokens");
      }
      left = line.substr(0, space);
      right = line.substr(space + 1);
    } else if (item.is_array() && item.size() == 2 && item[0].is_string() && item[1].is_string()) {
      left = item[0].get<std::string>();
      right = item[1].get<std::string>();
    } else {
      json_read::refuse("a merge must be two tokens");
    }
    const auto left_id = id_of(left), right_id = id_of(right), result = id_of(left + right);
    if (!left_id || !right_id || !result) {
      json_read::refuse("merge '" + left.substr(0, 80) + " " + right.substr(0, 80) +
                        "' uses a token that is not in the vocabulary");
    }
    merges_[pair_key(*left_id, *right_id)] = {rank++, *result};
  }
}

std::optional<int32_t> Bpe::id_of(std::string_view token) const {
  const auto it = ids_.find(token);
  return it == ids_.end() ? std::nullopt : std::optional<int32_t>(it->second);
}

const std::string* Bpe::token_of(int32_t id) const {
  return id >= 0 && id <= max_id() ? tokens_[static_cast<size_t>(id)] : nullptr;
}

const Bpe::Merge* Bpe::find_merge(int32_t left, int32_t right) const {
  const auto it = merges_.find(pair_key(left, right));
  return it == merges_.end() ? nullptr : &it->second;
}

// One id per character; unknown ones by bytes, as unk_token, or left out.
std::vector<int32_t> Bpe::characters(std::string_view word) const {
  std::vector<int32_t> out;
  out.reserve(word.size());
  bool unknown_pending = false;
  for (size_t pos = 0; pos < word.size();) {
    const std::string_view character = word.substr(pos, utf8_step(word, pos).bytes);
    pos += character.size();
    if (const auto id = id_of(character)) {
      if (unknown_pending) out.push_back(unknown_);
      unknown_pending = false;
      out.push_back(*id);
      continue;
    }
    const auto byte_token = [&](char b) { return byte_tokens_[static_cast<unsigned char>(b)]; };
    if (!byte_tokens_.empty() &&
        std::ranges::all_of(character, [&](char b) { return byte_token(b) >= 0; })) {
      // A pending unknown stays pending: the package does the same.
      for (const char b : character) out.push_back(byte_token(b));
      continue;
    }
    if (unknown_ < 0) continue;
    if (unknown_pending && !fuse_unknown_) out.push_back(unknown_);
    unknown_pending = true;
  }
  if (unknown_pending) out.push_back(unknown_);
  return out;
}

// Lowest rank first, leftmost among equals, over a doubly linked list.
void Bpe::merge(std::vector<int32_t>& ids) const {
  struct Candidate {
    uint32_t rank;
    size_t left;
    int32_t result;
    bool operator>(const Candidate& other) const {
      return rank != other.rank ? rank > other.rank : left > other.left;
    }
  };
  constexpr size_t kNone = static_cast<size_t>(-1);
  const size_t n = ids.size();
  std::vector<size_t> next(n), previous(n);
  std::vector<bool> dead(n, false);
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  const auto consider = [&](size_t left, size_t right) {
    if (left == kNone || right == kNone) return;
    if (const Merge* found = find_merge(ids[left], ids[right])) {
      queue.push({found->rank, left, found->result});
    }
  };
  for (size_t i = 0; i < n; ++i) {
    previous[i] = i == 0 ? kNone : i - 1;
    next[i] = i + 1 == n ? kNone : i + 1;
  }
  for (size_t i = 0; i + 1 < n; ++i) consider(i, i + 1);
  while (!queue.empty()) {
    const Candidate top = queue.top();
    queue.pop();
    const size_t right = next[top.left];
    if (dead[top.left] || right == kNone) continue;
    const Merge* current = find_merge(ids[top.left], ids[right]);
    if (current == nullptr || current->result != top.result) continue;  // merged meanwhile
    ids[top.left] = top.result;
    dead[right] = true;
    next[top.left] = next[right];
    if (next[right] != kNone) previous[next[right]] = top.left;
    consider(previous[top.left], top.left);
    consider(top.left, next[top.left]);
  }
  size_t kept = 0;
  for (size_t i = 0; i < n; ++i) {
    if (!dead[i]) ids[kept++] = ids[i];
  }
  ids.resize(kept);
}

void Bpe::encode(std::string_view word, std::vector<int32_t>& out, Cache& cache) const {
  if (ignore_merges_) {
    if (const auto id = id_of(word)) {
      out.push_back(*id);
      return;
    }
  }
  const auto it = cache.find(word);
  if (it != cache.end()) {
    out.insert(out.end(), it->second.begin(), it->second.end());
    return;
  }
  std::vector<int32_t> ids = characters(word);
  merge(ids);
  out.insert(out.end(), ids.begin(), ids.end());
  if (word.size() <= kMaxCachedWordBytes) cache.emplace(word, std::move(ids));
}

}  // namespace pocket
