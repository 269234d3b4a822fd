// `pattern` of Split and Replace: {"Regex": "..."} or {"String": "..."}.
#pragma once

#include <nlohmann/json.hpp>

#include "runtime/text/json_read.h"
#include "runtime/text/regex.h"

namespace pocket {

inline Regex read_pattern(const nlohmann::json& json) {
  const nlohmann::json& pattern = json_read::value(json, "pattern");
  if (pattern.is_object() && pattern.size() == 1) {
    if (pattern.contains("Regex")) return Regex::oniguruma(json_read::text(pattern, "Regex"));
    if (pattern.contains("String")) {
      const std::string text = json_read::text(pattern, "String");
      if (text.empty()) json_read::unsupported("pattern", "");
      return Regex::literal(text);
    }
  }
  json_read::refuse("'pattern' must be {\"Regex\": ...} or {\"String\": ...}");
}

inline std::string replace_all(const Regex& regex, const std::string& content,
                               const std::string& text) {
  std::string out;
  size_t from = 0;
  for (const Span match : regex.find_all(text)) {
    out.append(text, from, match.begin - from);
    out += content;
    from = match.end;
  }
  return out.append(text, from);
}

}  // namespace pocket
