#include "runtime/text/normalizer.h"

#include "runtime/text/json_read.h"
#include "runtime/text/pattern.h"
#include "runtime/text/unicode.h"

namespace pocket {

namespace {

std::string strip(const std::string& text, bool left, bool right) {
  size_t begin = text.size(), end = 0;  // of what is not white space
  for (size_t pos = 0; pos < text.size();) {
    const Utf8Step step = utf8_step(text, pos);
    if (!is_white_space(step.code_point)) {
      begin = std::min(begin, pos);
      end = pos + step.bytes;
    }
    pos += step.bytes;
  }
  if (begin == text.size() && (left || right)) return "";
  if (!left) begin = 0;
  if (!right) end = text.size();
  return text.substr(begin, end - begin);
}

}  // namespace

Normalizer::Normalizer(const nlohmann::json& json) {
  if (!json.is_null()) add(json, 0);
}

void Normalizer::add(const nlohmann::json& json, int depth) {
  const std::string type = json_read::text(json, "type");
  if (depth > 8) json_read::refuse("normalizers are nested deeper than 8");
  const auto add_form = [&](NormalForm form) {
    steps_.push_back([form](const std::string& text) { return normalize(text, form); });
  };
  if (type == "Sequence") {
    for (const auto& item : json_read::array(json, "normalizers")) add(item, depth + 1);
  } else if (type == "NFC") {
    add_form(NormalForm::nfc);
  } else if (type == "NFD") {
    add_form(NormalForm::nfd);
  } else if (type == "NFKC") {
    add_form(NormalForm::nfkc);
  } else if (type == "NFKD") {
    add_form(NormalForm::nfkd);
  } else if (type == "Lowercase") {
    steps_.push_back([](const std::string& text) { return to_lower(text); });
  } else if (type == "Prepend") {
    steps_.push_back([prefix = json_read::text(json, "prepend")](const std::string& text) {
      return text.empty() ? text : prefix + text;
    });
  } else if (type == "Replace") {
    steps_.push_back([regex = read_pattern(json), content = json_read::text(json, "content")](
                         const std::string& text) { return replace_all(regex, content, text); });
  } else if (type == "Strip") {
    steps_.push_back([left = json_read::flag(json, "strip_left"),
                      right = json_read::flag(json, "strip_right")](const std::string& text) {
      return strip(text, left, right);
    });
  } else {
    json_read::unsupported("normalizer", type);
  }
}

std::string Normalizer::apply(std::string_view text) const {
  std::string out(text);
  for (const auto& step : steps_) out = step(std::move(out));
  return out;
}

}  // namespace pocket
