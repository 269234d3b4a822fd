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

// A mark before the first word only: which word is the first is known while the normaliser leaves
// the front of the text in place.
void check_first_word(const Normalizer& normalizer, const PreTokenizer& pre_tokenizer) {
  if (normalizer.empty() || !pre_tokenizer.needs_first()) return;
  if (normalizer.may_shorten() || pre_tokenizer.needs_first_of_pieces()) {
    json_read::unsupported("prepend_scheme", "first, after a normalizer that moves the text");
  }
}

}  // namespace

Tokenizer Tokenizer::from_json(std::string_view text, std::string_view config_text) {
  const nlohmann::json json = parse(text, "tokenizer.json");
  Tokenizer out;
  try {
    out.model_ = read_model(json_read::value(json, "model"));
    out.normalizer_ = Normalizer(json_read::value(json, "normalizer"));
    out.pre_tokenizer_ = PreTokenizer(json_read::value(json, "pre_tokenizer"));
    check_first_word(out.normalizer_, out.pre_tokenizer_);
    out.added_ = AddedTokens(json_read::value(json, "added_tokens"), *out.model_, out.normalizer_);
    out.post_processor_ = PostProcessor(json_read::value(json, "post_processor"));
    out.decoder_ = Decoder(json_read::value(json, "decoder"));
    out.size_ = static_cast<size_t>(std::max(
                    {out.model_->max_id(), out.added_.max_id(), out.post_processor_.max_id()})) +
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
  TokenModel::Cache cache;
  for (const AddedTokens::Piece& piece : added_.extract(to_valid_utf8(utf8), normalizer_)) {
    if (piece.token != nullptr) {
      ids.push_back(piece.token->id);
      continue;
    }
    for (const std::string& word : pre_tokenizer_.apply(piece.text, piece.first)) {
      model_->encode(word, ids, cache);
    }
  }
  return post_processor_.apply(std::move(ids), add_special);
}

std::string Tokenizer::token_text(int32_t id) const {
  if (const AddedToken* token = added_.find(id)) return token->pattern;
  const std::string* token = model_->token_of(id);
  return token == nullptr ? "" : *token;
}

std::string Tokenizer::Stream::push(int32_t id) {
  if (tokenizer_->added_.find(id) == nullptr && tokenizer_->model_->token_of(id) == nullptr) {
    return "";
  }
  std::string token = tokenizer_->token_text(id);
  if (skip_special_ && tokenizer_->added_.is_special(token)) return "";
  return text_.push(std::move(token));
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  Stream decoded = stream(skip_special);
  std::string out;
  for (const int32_t id : ids) out += decoded.push(id);
  return out + decoded.finish();
}

std::optional<int32_t> Tokenizer::id_of(std::string_view token) const {
  if (const AddedToken* added = added_.find(token)) return added->id;
  return model_->id_of(token);
}

bool Tokenizer::is_special(int32_t id) const {
  const AddedToken* token = added_.find(id);
  return token != nullptr && token->special;
}

void validate_supported(std::string_view json, std::string_view tokenizer_config_json) {
  Tokenizer::from_json(json, tokenizer_config_json);
}

}  // namespace pocket
