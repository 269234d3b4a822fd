// What the Metaspace pre-tokenizer and the Metaspace decoder read alike.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "runtime/text/json_read.h"

namespace pocket {

// "first", "never" or "always", the default; older files say add_prefix_space instead.
inline std::string read_prepend_scheme(const nlohmann::json& json) {
  const bool add = json_read::flag_or(json, "add_prefix_space", true);
  const std::string scheme = json_read::text_or(json, "prepend_scheme", add ? "always" : "never");
  if (scheme != "first" && scheme != "never" && scheme != "always") {
    json_read::unsupported("prepend_scheme", scheme);
  }
  if (!add && scheme != "never") {
    json_read::refuse("'add_prefix_space' is false but 'prepend_scheme' is '" + scheme + "'");
  }
  return scheme;
}

}  // namespace pocket
