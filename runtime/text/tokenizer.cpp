#include "runtime/text/tokenizer.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "runtime/text/json_read.h"
#include "runtime/text/unicode.h"

namespace pocket {

namespace {

nlohmann::json parse(std::string_view text, const char* file) {
  try {
    nlohmann::json json = nlohmann::json::parse(text);
    if (json.is_object()) return json;
  } catch (const nlohmann::json::exception& error) {
    json_read::refuse(std::string(file) +
                      " is not valid JSON: " + std::string(error.what()).substr(0, 200));
  }
  json_read::refuse(std::string(file) + " must be a JSON object");
}

// "bos_token": "<s>" or {"content": "<s>", ...} or null.
std::optional<int32_t> named_token(const nlohmann::json& config, const char* key,
                                   const Tokenizer& tokenizer) {
  const nlohmann::json& found = json_read::value(config, key);
  if (found.is_null()) return std::nullopt;
  return tokenizer.id_of(found.is_object() ? json_read::text(found, "content")
                                           : json_read::text(config, key));
}

}  // namespace

Tokenizer Tokenizer::from_json(std::string_view text, std::string_view config_text) {
  const nlohmann::json json = parse(text, "tokenizer.json");
  Tokenizer out;
  try {
    const nlohmann::json& model = json_read::value(json, "model");
    if (!model.is_object()) json_read::refuse("tokenizer.json has no 'model'");
    out.model_ = Bpe(model);
    out.normalizer_ = Normalizer(json_read::value(json, "normalizer"));
    out.pre_tokenizer_ = PreTokenizer(json_read::value(json, "pre_tokenizer"));
    out.added_ = AddedTokens(json_read::value(json, "added_tokens"), out.model_, out.normalizer_);
    out.post_processor_ = PostProcessor(json_read::value(json, "post_processor"));
    out.decoder_ = Decoder(json_read::value(json, "decoder"));
    out.size_ = static_cast<size_t>(std::max(
                    {out.model_.max_id(), out.added_.max_id(), out.post_processor_.max_id()})) +
                1;
    if (!config_text.empty()) {
      const nlohmann::json config = parse(config_text, "tokenizer_config.json");
      out.bos_id_ = named_token(config, "bos_token", out);
      out.eos_id_ = named_token(config, "eos_token", out);
    }
  } catch (const nlohmann::json::exception& error) {
    json_read::refuse(std::string("tokenizer.json cannot be read: ") + error.what());
  }
  return out;
}

std::vector<int32_t> Tokenizer::encode(std::string_view utf8, bool add_special) const {
  std::vector<int32_t> ids;
  Bpe::Cache cache;
  for (const AddedTokens::Piece& piece : added_.extract(to_valid_utf8(utf8), normalizer_)) {
    if (piece.token != nullptr) {
      ids.push_back(piece.token->id);
      continue;
    }
    for (const std::string& word : pre_tokenizer_.apply(piece.text)) {
      model_.encode(word, ids, cache);
    }
  }
  return post_processor_.apply(std::move(ids), add_special);
}

std::string Tokenizer::token_text(int32_t id) const {
  if (const AddedToken* token = added_.find(id)) return token->pattern;
  const std::string* token = model_.token_of(id);
  return token == nullptr ? "" : *token;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  std::vector<std::string> tokens;
  tokens.reserve(ids.size());
  for (const int32_t id : ids) {
    if (added_.find(id) == nullptr && model_.token_of(id) == nullptr) continue;
    std::string token = token_text(id);
    if (skip_special && added_.is_special(token)) continue;
    tokens.push_back(std::move(token));
  }
  return decoder_.apply(std::move(tokens));
}

std::string Tokenizer::token_bytes(int32_t id) const { return decoder_.bytes_of(token_text(id)); }

std::optional<int32_t> Tokenizer::id_of(std::string_view token) const {
  if (const AddedToken* added = added_.find(token)) return added->id;
  return model_.id_of(token);
}

bool Tokenizer::is_special(int32_t id) const {
  const AddedToken* token = added_.find(id);
  return token != nullptr && token->special;
}

void validate_supported(std::string_view json, std::string_view tokenizer_config_json) {
  Tokenizer::from_json(json, tokenizer_config_json);
}

}  // namespace pocket
