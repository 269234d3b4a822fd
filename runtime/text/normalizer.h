// `normalizer` of tokenizer.json.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace pocket {

// null, NFC, NFD, NFKC, NFKD, Lowercase, StripAccents, Nmt, Prepend, Replace, Strip, Precompiled,
// ByteLevel, Sequence.
class Normalizer {
 public:
  Normalizer() = default;
  // Error bad_input names an unknown type.
  explicit Normalizer(const nlohmann::json& json);

  bool empty() const { return steps_.empty(); }
  // Whether some step may take characters away from the front of a text.
  bool may_shorten() const { return may_shorten_; }
  // text must be valid UTF-8.
  std::string apply(std::string_view text) const;

 private:
  void add(const nlohmann::json& json, int depth);

  std::vector<std::function<std::string(std::string)>> steps_;
  bool may_shorten_ = false;
};

}  // namespace pocket
