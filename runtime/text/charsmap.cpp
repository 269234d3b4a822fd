#include "runtime/text/charsmap.h"

#include "runtime/text/json_read.h"
#include "runtime/text/unicode.h"

namespace pocket {

namespace {

constexpr size_t kMaxGraphemeBytes = 5;

std::string from_base64(std::string_view text) {
  std::string out;
  uint32_t bits = 0;
  int count = 0;
  while (text.ends_with('=')) text.remove_suffix(1);
  for (const char c : text) {
    uint32_t value = 0;
    if (c >= 'A' && c <= 'Z') {
      value = static_cast<uint32_t>(c - 'A');
    } else if (c >= 'a' && c <= 'z') {
      value = static_cast<uint32_t>(c - 'a') + 26;
    } else if (c >= '0' && c <= '9') {
      value = static_cast<uint32_t>(c - '0') + 52;
    } else if (c == '+' || c == '/') {
      value = c == '+' ? 62 : 63;
    } else {
      json_read::refuse("'precompiled_charsmap' is not base64");
    }
    bits = bits << 6 | value;
    count += 6;
    if (count < 8) continue;
    count -= 8;
    out.push_back(static_cast<char>(bits >> count & 0xFFu));
  }
  return out;
}

uint32_t read_u32(std::string_view bytes, size_t at) {
  uint32_t out = 0;
  for (unsigned i = 0; i < 4; ++i) {
    out |= static_cast<uint32_t>(static_cast<unsigned char>(bytes[at + i])) << 8 * i;
  }
  return out;
}

// Units of a double-array trie.
bool has_leaf(uint32_t unit) { return (unit >> 8 & 1u) != 0; }
uint32_t label(uint32_t unit) { return unit & (1u << 31 | 0xFFu); }
uint32_t value(uint32_t unit) { return unit & ~(1u << 31); }
uint32_t offset(uint32_t unit) { return (unit >> 10) << ((unit & 1u << 9) >> 6); }

}  // namespace

Charsmap::Charsmap(std::string_view base64) {
  const std::string bytes = from_base64(base64);
  const size_t size = bytes.size() < 4 ? 0 : read_u32(bytes, 0);
  if (size == 0 || size % 4 != 0 || size > bytes.size() - 4) {
    json_read::refuse("'precompiled_charsmap' of " + std::to_string(bytes.size()) +
                      " bytes states a trie of " + std::to_string(size));
  }
  units_.reserve(size / 4);
  for (size_t at = 4; at < 4 + size; at += 4) units_.push_back(read_u32(bytes, at));
  texts_ = bytes.substr(4 + size);
  if (to_valid_utf8(texts_) != texts_) {
    json_read::refuse("'precompiled_charsmap' holds replacements that are not UTF-8");
  }
}

std::optional<std::string_view> Charsmap::replacement(std::string_view text) const {
  size_t node = offset(units_[0]);
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte == 0) break;
    node ^= byte;
    if (node >= units_.size() || label(units_[node]) != byte) break;
    const uint32_t unit = units_[node];
    node ^= offset(unit);
    if (!has_leaf(unit)) continue;
    if (node >= units_.size()) break;
    const std::string_view found =
        std::string_view(texts_).substr(std::min<size_t>(value(units_[node]), texts_.size()));
    const std::string_view whole = found.substr(0, found.find('\0'));
    // A map may point into the middle of a character.
    if (!whole.empty() && (static_cast<unsigned char>(whole[0]) & 0xC0u) == 0x80u) {
      json_read::refuse("'precompiled_charsmap' points into a character");
    }
    return whole;
  }
  return std::nullopt;
}

std::string Charsmap::apply(std::string_view text) const {
  std::string out;
  out.reserve(text.size());
  for (size_t pos = 0; pos < text.size();) {
    const std::string_view grapheme = text.substr(pos, grapheme_bytes(text, pos));
    pos += grapheme.size();
    if (grapheme.size() <= kMaxGraphemeBytes) {
      if (const auto found = replacement(grapheme)) {
        out += *found;
        continue;
      }
    }
    for (size_t at = 0; at < grapheme.size();) {
      const std::string_view character = grapheme.substr(at, utf8_step(grapheme, at).bytes);
      at += character.size();
      out += replacement(character).value_or(character);
    }
  }
  return out;
}

}  // namespace pocket
