// Text <-> token ids, from HuggingFace's tokenizer.json: BPE (byte-level, or sentencepiece's) and
// Unigram.
//
// encode: added tokens are found -> normaliser -> pre-tokeniser -> model -> post-processor. Equal
// to the Python package `tokenizers` (0.23) id by id. `truncation` and `padding` of the file are
// not applied: the caller decides lengths.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/text/added_tokens.h"
#include "runtime/text/decoder.h"
#include "runtime/text/normalizer.h"
#include "runtime/text/post_processor.h"
#include "runtime/text/pretokenizer.h"
#include "runtime/text/token_model.h"

namespace pocket {

// Move-only. All const functions may run in several threads at once.
class Tokenizer {
 public:
  // json: the bytes of tokenizer.json. tokenizer_config_json: those of tokenizer_config.json, or
  // empty; only its bos_token and eos_token are read. Error bad_input when a file is malformed or
  // holds a part that is not known, by name.
  static Tokenizer from_json(std::string_view json, std::string_view tokenizer_config_json = {});

  // Ids of a text. Input that is not UTF-8 is read as Python's decode(errors="replace") would:
  // every maximal ill-formed part is one U+FFFD. add_special: with the post-processor's bos, eos.
  // Error bad_input only when a regular expression of the file gives up on this text.
  std::vector<int32_t> encode(std::string_view utf8, bool add_special = true) const;

  // Valid UTF-8. Ids that name no token are skipped. skip_special leaves out special added tokens.
  std::string decode(std::span<const int32_t> ids, bool skip_special) const;

  // decode() id by id: all results of push and the one of finish put together are decode's text,
  // each valid UTF-8. The tokenizer must outlive it.
  class Stream {
   public:
    std::string push(int32_t id);
    std::string finish() { return text_.finish(); }

   private:
    friend class Tokenizer;
    Stream(const Tokenizer& tokenizer, bool skip_special)
        : tokenizer_(&tokenizer), text_(tokenizer.decoder_), skip_special_(skip_special) {}

    const Tokenizer* tokenizer_;
    TextStream text_;
    bool skip_special_;
  };
  Stream stream(bool skip_special) const { return {*this, skip_special}; }

  // The token's text as it stands in the vocabulary; empty for an id that names no token.
  std::string token_text(int32_t id) const;

  std::optional<int32_t> id_of(std::string_view token) const;
  bool is_special(int32_t id) const;

  // One more than the largest id that encode can give; a model may have more rows.
  size_t size() const { return size_; }

  std::optional<int32_t> bos_id() const { return bos_id_; }  // from tokenizer_config.json
  std::optional<int32_t> eos_id() const { return eos_id_; }

 private:
  Tokenizer() = default;

  Normalizer normalizer_;
  PreTokenizer pre_tokenizer_;
  std::unique_ptr<const TokenModel> model_;
  AddedTokens added_;
  PostProcessor post_processor_;
  Decoder decoder_;
  size_t size_ = 0;
  std::optional<int32_t> bos_id_, eos_id_;
};

// For the converter: throws what from_json would throw at load.
void validate_supported(std::string_view json, std::string_view tokenizer_config_json = {});

}  // namespace pocket
