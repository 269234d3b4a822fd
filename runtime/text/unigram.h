// Unigram language model (Kudo, "Subword Regularization", ACL 2018) as sentencepiece trains it.
#pragma once

#include <nlohmann/json.hpp>

#include "runtime/text/byte_trie.h"
#include "runtime/text/token_model.h"

namespace pocket {

// The cut of a word with the largest sum of scores (Viterbi). A character that no token covers
// alone costs the smallest score minus 10 and is the unknown token; runs of them are one.
class Unigram : public TokenModel {
 public:
  // `vocab` as [[token, score], ...], unk_id, byte_fallback. Error bad_input for anything else.
  explicit Unigram(const nlohmann::json& model);

  // Error bad_input when the word needs the unknown token and the file names none.
  void encode(std::string_view word, std::vector<int32_t>& out, Cache& cache) const override;

  std::optional<int32_t> id_of(std::string_view token) const override;
  const std::string* token_of(int32_t id) const override;
  size_t vocabulary_size() const override { return tokens_.size(); }
  int32_t max_id() const override { return static_cast<int32_t>(tokens_.size()) - 1; }

 private:
  struct Piece {
    size_t begin, end;  // bytes of the word
  };
  std::vector<Piece> best_cut(std::string_view word) const;
  void append_piece(std::string_view piece, std::vector<int32_t>& out) const;

  std::vector<std::string> tokens_;  // by id
  std::vector<double> scores_;       // by id
  ByteTrie trie_;
  std::vector<int32_t> byte_tokens_;  // by byte, -1 where absent; empty: no fallback
  int32_t unknown_ = -1;
  double unknown_score_ = 0;
};

}  // namespace pocket
