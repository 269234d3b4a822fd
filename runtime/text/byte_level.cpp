#include "runtime/text/byte_level.h"

#include <array>

#include "runtime/text/unicode.h"

namespace pocket {

namespace {

constexpr char32_t kTableSize = 0x144;  // characters are below U+0144

struct Tables {
  std::array<std::string, 256> character;
  std::array<int, kTableSize> byte{};

  Tables() {
    byte.fill(-1);
    char32_t next = 0x100;
    for (char32_t b = 0; b < 256; ++b) {
      const bool printable =
          (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || (b >= 0xAE && b <= 0xFF);
      const char32_t c = printable ? b : next++;
      append_utf8(character[b], c);
      byte[c] = static_cast<int>(b);
    }
  }
};

const Tables& tables() {
  static const Tables all;
  return all;
}

}  // namespace

std::string bytes_to_characters(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const char b : bytes) out += tables().character[static_cast<unsigned char>(b)];
  return out;
}

std::optional<std::string> characters_to_bytes(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t pos = 0; pos < text.size();) {
    const Utf8Step step = utf8_step(text, pos);
    if (step.kind != Utf8Step::Kind::valid || step.code_point >= kTableSize) return std::nullopt;
    const int byte = tables().byte[step.code_point];
    if (byte < 0) return std::nullopt;
    out.push_back(static_cast<char>(byte));
    pos += step.bytes;
  }
  return out;
}

}  // namespace pocket
