// Byte-pair encoding of one word.
#pragma once

#include <nlohmann/json.hpp>

#include "runtime/text/token_model.h"

namespace pocket {

class Bpe : public TokenModel {
 public:
  // Merges as "a b" or ["a", "b"], ignore_merges, unk_token, fuse_unk, byte_fallback. Refused with
  // Error bad_input: dropout, subword prefix or suffix, merges whose parts or
  // result are not in the vocabulary.
  explicit Bpe(const nlohmann::json& model);

  // n log n in the length of the word.
  void encode(std::string_view word, std::vector<int32_t>& out, Cache& cache) const override;

  std::optional<int32_t> id_of(std::string_view token) const override;
  const std::string* token_of(int32_t id) const override;
  size_t vocabulary_size() const override { return ids_.size(); }
  int32_t max_id() const override { return static_cast<int32_t>(tokens_.size()) - 1; }

 private:
  struct Merge {
    uint32_t rank;
    int32_t result;
  };
  const Merge* find_merge(int32_t left, int32_t right) const;
  void read_vocabulary(const nlohmann::json& vocabulary);
  void read_merges(const nlohmann::json& merges);
  std::vector<int32_t> characters(std::string_view word) const;
  void merge(std::vector<int32_t>& ids) const;

  std::unordered_map<std::string, int32_t, StringHash, std::equal_to<>> ids_;
  std::vector<const std::string*> tokens_;      // by id, into ids_; nullptr in holes
  std::unordered_map<uint64_t, Merge> merges_;  // left << 32 | right
  std::vector<int32_t> byte_tokens_;  // <0x00>.. by byte, -1 where absent; empty: no fallback
  int32_t unknown_ = -1;
  bool fuse_unknown_ = false;
  bool ignore_merges_ = false;
};

}  // namespace pocket
