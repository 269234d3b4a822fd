// GPT-2's reversible map from bytes to printable characters.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace pocket {

// Each byte as its character: space becomes U+0120, printable Latin-1 stays.
std::string bytes_to_characters(std::string_view bytes);

// The inverse; nothing when some character stands for no byte.
std::optional<std::string> characters_to_bytes(std::string_view text);

}  // namespace pocket
