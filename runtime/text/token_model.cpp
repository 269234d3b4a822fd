#include "runtime/text/token_model.h"

#include "runtime/text/bpe.h"
#include "runtime/text/json_read.h"
#include "runtime/text/unigram.h"

namespace pocket {

std::unique_ptr<const TokenModel> read_model(const nlohmann::json& model) {
  if (!model.is_object()) json_read::refuse("tokenizer.json has no 'model'");
  // Old files leave the type out; only BPE has merges.
  const std::string type = json_read::text_or(model, "type", model.contains("merges") ? "BPE" : "");
  if (type == "BPE") return std::make_unique<const Bpe>(model);
  if (type == "Unigram") return std::make_unique<const Unigram>(model);
  json_read::unsupported("model", type.empty() ? "without type" : type);
}

std::string byte_token_name(unsigned byte) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  return std::string("<0x") + kHex[byte >> 4 & 15u] + kHex[byte & 15u] + ">";
}

}  // namespace pocket
