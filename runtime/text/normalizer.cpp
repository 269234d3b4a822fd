#include "runtime/text/normalizer.h"

#include <memory>

#include "runtime/text/byte_level.h"
#include "runtime/text/charsmap.h"
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

// sentencepiece's rule "nmt": control characters go, other white space is a space.
std::string nmt(const std::string& text) {
  std::string out;
  out.reserve(text.size());
  for (size_t pos = 0; pos < text.size();) {
    const Utf8Step step = utf8_step(text, pos);
    const char32_t c = step.code_point;
    const bool control = (c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F ||
                         c == 0x8F || c == 0x9F;
    const bool space = c == 9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 ||
                       (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
                       c == 0xFEFF || c == 0xFFFD;
    if (space) {
      out.push_back(' ');
    } else if (!control) {
      out.append(text, pos, step.bytes);
    }
    pos += step.bytes;
  }
  return out;
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
  } else if (type == "StripAccents") {
    may_shorten_ = true;
    steps_.push_back([](const std::string& text) { return strip_accents(text); });
  } else if (type == "Nmt") {
    may_shorten_ = true;
    steps_.push_back(nmt);
  } else if (type == "ByteLevel") {
    steps_.push_back([](const std::string& text) { return bytes_to_characters(text); });
  } else if (type == "Precompiled") {
    may_shorten_ = true;
    const std::string map = json_read::text_or(json, "precompiled_charsmap", "");
    if (map.empty()) return;
    steps_.push_back([charsmap = std::make_shared<const Charsmap>(map)](const std::string& text) {
      return charsmap->apply(text);
    });
  } else if (type == "Prepend") {
    steps_.push_back([prefix = json_read::text(json, "prepend")](const std::string& text) {
      return text.empty() ? text : prefix + text;
    });
  } else if (type == "Replace") {
    may_shorten_ |= json_read::text(json, "content").empty();
    steps_.push_back([regex = read_pattern(json), content = json_read::text(json, "content")](
                         const std::string& text) { return replace_all(regex, content, text); });
  } else if (type == "Strip") {
    may_shorten_ = true;
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
