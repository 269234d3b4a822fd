#include "runtime/text/post_processor.h"

#include <algorithm>

#include "runtime/text/json_read.h"

namespace pocket {

PostProcessor::PostProcessor(const nlohmann::json& json) {
  if (!json.is_null()) add(json, 0);
}

void PostProcessor::add(const nlohmann::json& json, int depth) {
  const std::string type = json_read::text(json, "type");
  if (depth > 8) json_read::refuse("post-processors are nested deeper than 8");
  if (type == "Sequence") {
    for (const auto& item : json_read::array(json, "processors")) add(item, depth + 1);
  } else if (type == "TemplateProcessing") {
    if (has_template_) json_read::unsupported("post-processor", "a second TemplateProcessing");
    has_template_ = true;
    add_template(json);
  } else if (type != "ByteLevel") {
    json_read::unsupported("post-processor", type);
  }
}

void PostProcessor::add_template(const nlohmann::json& json) {
  const nlohmann::json& tokens = json_read::value(json, "special_tokens");
  for (const auto& item : json_read::array(json, "single")) {
    const nlohmann::json& sequence = json_read::value(item, "Sequence");
    if (!sequence.is_null()) {
      if (json_read::text(sequence, "id") != "A") {
        json_read::unsupported("template sequence", json_read::text(sequence, "id"));
      }
      pieces_.push_back({true, {}});
      continue;
    }
    const std::string name = json_read::text(json_read::value(item, "SpecialToken"), "id");
    const nlohmann::json& token = json_read::value(tokens, name);
    if (token.is_null()) json_read::refuse("template token '" + name + "' is not defined");
    Piece piece{false, {}};
    for (const auto& id : json_read::array(token, "ids")) {
      piece.ids.push_back(json_read::token_id(id, "template token '" + name + "'"));
    }
    pieces_.push_back(std::move(piece));
  }
}

std::vector<int32_t> PostProcessor::apply(std::vector<int32_t> ids, bool add_special) const {
  if (!has_template_) return ids;
  std::vector<int32_t> out;
  for (const Piece& piece : pieces_) {
    if (!piece.sequence && !add_special) continue;
    const std::vector<int32_t>& from = piece.sequence ? ids : piece.ids;
    out.insert(out.end(), from.begin(), from.end());
  }
  return out;
}

int32_t PostProcessor::max_id() const {
  int32_t most = -1;
  for (const Piece& piece : pieces_) {
    for (const int32_t id : piece.ids) most = std::max(most, id);
  }
  return most;
}

}  // namespace pocket
