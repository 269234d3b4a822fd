#include "runtime/text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>

#include "runtime/base/error.h"
#include "runtime/text/unicode_marks.h"
#include "runtime/text/unicode_tables.h"

namespace pocket {

namespace {

bool is_scalar(char32_t c) { return c < 0x110000 && !(c >= 0xD800 && c < 0xE000); }

// table: sorted ranges.
template <size_t N>
bool is_in(const CodePointRange (&table)[N], char32_t c) {
  const auto* it = std::upper_bound(
      std::begin(table), std::end(table), c,
      [](char32_t value, const CodePointRange& range) { return value < range.first; });
  return it != std::begin(table) && c <= std::prev(it)->last;
}

bool is_normalization_barrier(char32_t c) { return is_in(kNormalizationBarriers, c); }

void append_normalized(std::string& out, std::string_view text, int options) {
  if (text.empty()) return;
  utf8proc_uint8_t* result = nullptr;
  const utf8proc_ssize_t size = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                             static_cast<utf8proc_ssize_t>(text.size()), &result,
                                             static_cast<utf8proc_option_t>(options));
  if (size < 0) {
    throw Error(ExitCode::bad_input,
                std::string("tokenizer: Unicode normalisation failed: ") + utf8proc_errmsg(size));
  }
  out.append(reinterpret_cast<const char*>(result), static_cast<size_t>(size));
  std::free(result);
}

}  // namespace

Utf8Step utf8_step(std::string_view text, size_t pos) {
  using Kind = Utf8Step::Kind;
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(pos);
  if (lead < 0x80) return {Kind::valid, 1, lead};
  size_t length = 0;
  uint8_t low = 0x80, high = 0xBF;  // range of the second byte
  char32_t c = 0;
  if (lead >= 0xC2 && lead <= 0xDF) {
    length = 2, c = lead & 0x1Fu;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    length = 3, c = lead & 0x0Fu;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    length = 4, c = lead & 0x07u;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
  } else {
    return {Kind::invalid, 1, 0};
  }
  for (size_t i = 1; i < length; ++i) {
    if (pos + i >= text.size()) return {Kind::incomplete, i, 0};
    const uint8_t b = byte(pos + i);
    if (b < low || b > high) return {Kind::invalid, i, 0};
    low = 0x80, high = 0xBF;
    c = (c << 6) | (b & 0x3Fu);
  }
  return {Kind::valid, length, c};
}

void append_utf8(std::string& out, char32_t c) {
  if (!is_scalar(c)) c = 0xFFFD;
  const auto put = [&](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | (c >> 6)), put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | (c >> 12)), put(0x80 | ((c >> 6) & 0x3F)), put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | (c >> 18)), put(0x80 | ((c >> 12) & 0x3F));
    put(0x80 | ((c >> 6) & 0x3F)), put(0x80 | (c & 0x3F));
  }
}

std::string to_valid_utf8(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  for (size_t pos = 0; pos < bytes.size();) {
    const Utf8Step step = utf8_step(bytes, pos);
    if (step.kind == Utf8Step::Kind::valid) {
      out.append(bytes.substr(pos, step.bytes));
    } else {
      append_utf8(out, 0xFFFD);
    }
    pos += step.bytes;
  }
  return out;
}

bool is_white_space(char32_t c) {
  return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

std::string normalize(std::string_view text, NormalForm form) {
  int options = UTF8PROC_STABLE;
  const bool compose = form == NormalForm::nfc || form == NormalForm::nfkc;
  options |= compose ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE;
  if (form == NormalForm::nfkc || form == NormalForm::nfkd) options |= UTF8PROC_COMPAT;

  std::string out;
  out.reserve(text.size());
  size_t begin = 0;
  for (size_t pos = 0; pos < text.size();) {
    const Utf8Step step = utf8_step(text, pos);
    if (step.code_point >= 0x300 && is_normalization_barrier(step.code_point)) {
      append_normalized(out, text.substr(begin, pos - begin), options);
      out.append(text.substr(pos, step.bytes));
      begin = pos + step.bytes;
    }
    pos += step.bytes;
  }
  append_normalized(out, text.substr(begin), options);
  return out;
}

size_t grapheme_bytes(std::string_view text, size_t pos) {
  Utf8Step step = utf8_step(text, pos);
  size_t bytes = step.bytes;
  utf8proc_int32_t state = 0;
  while (pos + bytes < text.size()) {
    const Utf8Step next = utf8_step(text, pos + bytes);
    // U+0301 stands in for the marks that utf8proc does not know yet.
    const char32_t c = is_in(kLateExtends, next.code_point) ? 0x301 : next.code_point;
    if (utf8proc_grapheme_break_stateful(static_cast<utf8proc_int32_t>(step.code_point),
                                         static_cast<utf8proc_int32_t>(c), &state)) {
      break;
    }
    bytes += next.bytes;
    step = next;
    step.code_point = c;
  }
  return bytes;
}

std::string strip_accents(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t pos = 0; pos < text.size();) {
    const Utf8Step step = utf8_step(text, pos);
    if (!is_in(kAccents, step.code_point)) out.append(text.substr(pos, step.bytes));
    pos += step.bytes;
  }
  return out;
}

std::string to_lower(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t pos = 0; pos < text.size();) {
    const Utf8Step step = utf8_step(text, pos);
    const char32_t c = step.code_point;
    pos += step.bytes;
    if (c < 0x80) {
      out.push_back(static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c));
      continue;
    }
    const auto* it =
        std::find_if(std::begin(kLowerExceptions), std::end(kLowerExceptions),
                     [&](const LowerException& e) { return c >= e.first && c <= e.last; });
    if (it != std::end(kLowerExceptions)) {
      append_utf8(out, it->to + (c - it->first));
      if (it->then != 0) append_utf8(out, it->then);
    } else {
      append_utf8(out, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
    }
  }
  return out;
}

}  // namespace pocket
