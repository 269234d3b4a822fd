// UTF-8 and the few Unicode properties that tokenizers ask for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace pocket {

// One step of a UTF-8 decoder at text[pos], pos < text.size().
struct Utf8Step {
  enum class Kind { valid, invalid, incomplete };
  Kind kind;
  size_t bytes;  // valid: bytes of the character; invalid: of the maximal ill-formed part (>= 1);
                 // incomplete: bytes left, all of them a proper prefix of some character
  char32_t code_point;  // when valid
};
Utf8Step utf8_step(std::string_view text, size_t pos);

// Appends a Unicode scalar value as UTF-8. Not a scalar value: appends U+FFFD.
void append_utf8(std::string& out, char32_t code_point);

// Every maximal ill-formed part becomes one U+FFFD: what Python's decode("utf-8", errors="replace")
// and Rust's from_utf8_lossy give.
std::string to_valid_utf8(std::string_view bytes);

// Unicode White_Space (25 code points): what Rust and Oniguruma call white space.
bool is_white_space(char32_t c);

// Body of a PCRE2 bracket for White_Space: PCRE2's own \s also holds U+180E.
inline constexpr std::string_view kWhiteSpaceClass =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";

enum class NormalForm { nfc, nfd, nfkc, nfkd };
// text must be valid UTF-8. Code points newer than the Unicode version of HuggingFace's normaliser
// are left in place and act as boundaries, as they do there.
std::string normalize(std::string_view text, NormalForm form);

// Bytes of the grapheme cluster (extended, UAX 29) that begins at text[pos], pos < text.size(),
// when a cluster begins there. text must be valid UTF-8.
size_t grapheme_bytes(std::string_view text, size_t pos);

// Without combining marks: what HuggingFace's StripAccents leaves. text must be valid UTF-8.
std::string strip_accents(std::string_view text);

// Full lower case, character by character, without context (Rust's char::to_lowercase).
std::string to_lower(std::string_view text);

}  // namespace pocket
