// `model` of tokenizer.json: the ids of one word, whatever the algorithm.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace pocket {

struct StringHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};

class TokenModel {
 public:
  TokenModel() = default;
  TokenModel(const TokenModel&) = delete;
  TokenModel& operator=(const TokenModel&) = delete;
  virtual ~TokenModel() = default;

  // Words already encoded, by text. One per caller: encoding itself stays const.
  using Cache = std::unordered_map<std::string, std::vector<int32_t>, StringHash, std::equal_to<>>;

  // Appends the ids of one word (valid UTF-8, not empty).
  virtual void encode(std::string_view word, std::vector<int32_t>& out, Cache& cache) const = 0;

  virtual std::optional<int32_t> id_of(std::string_view token) const = 0;
  virtual const std::string* token_of(int32_t id) const = 0;  // nullptr: no such id
  virtual size_t vocabulary_size() const = 0;
  virtual int32_t max_id() const = 0;
};

// The model that the file describes: BPE or Unigram. Error bad_input names any other type.
std::unique_ptr<const TokenModel> read_model(const nlohmann::json& model);

// "<0x41>" for 0x41: how models name the token of a byte.
std::string byte_token_name(unsigned byte);

}  // namespace pocket
