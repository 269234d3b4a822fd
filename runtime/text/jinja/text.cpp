#include "runtime/text/jinja/text.h"

#include <utf8proc.h>

#include <algorithm>

#include "runtime/text/jinja/value.h"
#include "runtime/text/unicode.h"

namespace pocket::jinja {

namespace {

char32_t code_point(std::string_view text, size_t pos) { return utf8_step(text, pos).code_point; }

size_t last_character(std::string_view text) {
  size_t pos = text.size() - 1;
  while (pos > 0 && (static_cast<unsigned char>(text[pos]) & 0xC0u) == 0x80u) --pos;
  return pos;
}

bool is_line_end(char32_t c) {
  return (c >= 0xA && c <= 0xD) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
         c == 0x2029;
}

// Full case mappings that are not one letter to one letter, or look at the letters around.
bool has_special_case(char32_t c) {
  return c == 0xDF || c == 0x130 || c == 0x149 || c == 0x1F0 || c == 0x345 || c == 0x390 ||
         c == 0x3A3 || c == 0x3B0 || c == 0x3C2 || c == 0x587 || (c >= 0x1C4 && c <= 0x1CC) ||
         (c >= 0x1F1 && c <= 0x1F3) || (c >= 0x10D0 && c <= 0x10FF) ||
         (c >= 0x1C90 && c <= 0x1CBF) || (c >= 0x1E96 && c <= 0x1E9E) ||
         (c >= 0x1F50 && c <= 0x1FFF) || (c >= 0xFB00 && c <= 0xFB17);
}

char32_t checked(char32_t c) {
  if (has_special_case(c)) {
    std::string text;
    append_utf8(text, c);
    fail("changes the case of '" + text + "', which is not supported");
  }
  return c;
}

char32_t to_upper_one(char32_t c) {
  if (c < 0x80) return c >= 'a' && c <= 'z' ? c - 32 : c;
  return static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(checked(c))));
}

char32_t to_lower_one(char32_t c) {
  if (c < 0x80) return c >= 'A' && c <= 'Z' ? c + 32 : c;
  return static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(checked(c))));
}

template <class Change>
std::string mapped(std::string_view text, Change&& change) {
  std::string out;
  out.reserve(text.size());
  for (size_t pos = 0; pos < text.size();) {
    const Utf8Step step = utf8_step(text, pos);
    append_utf8(out, change(step.code_point));
    pos += step.bytes;
  }
  return out;
}

}  // namespace

bool is_python_space(char32_t c) { return is_white_space(c) || (c >= 0x1C && c <= 0x1F); }

size_t length(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0u) != 0x80u;
  }));
}

std::vector<size_t> starts(std::string_view text) {
  std::vector<size_t> out;
  for (size_t i = 0; i < text.size(); ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xC0u) != 0x80u) out.push_back(i);
  }
  out.push_back(text.size());
  return out;
}

std::string_view strip(std::string_view text, const std::optional<std::string>& characters,
                       bool left, bool right) {
  const auto goes = [&](std::string_view character) {
    if (!characters) return is_python_space(code_point(character, 0));
    return characters->find(character) != std::string::npos;
  };
  while (left && !text.empty()) {
    const size_t bytes = utf8_step(text, 0).bytes;
    if (!goes(text.substr(0, bytes))) break;
    text.remove_prefix(bytes);
  }
  while (right && !text.empty()) {
    const size_t begin = last_character(text);
    if (!goes(text.substr(begin))) break;
    text = text.substr(0, begin);
  }
  return text;
}

std::vector<std::string> split(std::string_view text, const std::optional<std::string>& separator,
                               int64_t most) {
  std::vector<std::string> out;
  const auto may_cut = [&] { return most < 0 || static_cast<int64_t>(out.size()) < most; };
  if (separator) {
    if (separator->empty()) fail("splits a text at an empty separator; name one");
    size_t at = text.find(*separator);
    while (may_cut() && at != std::string_view::npos) {
      out.emplace_back(text.substr(0, at));
      text.remove_prefix(at + separator->size());
      at = text.find(*separator);
    }
    out.emplace_back(text);
    return out;
  }
  while (true) {
    text = strip(text, std::nullopt, true, false);
    if (text.empty()) return out;
    if (!may_cut()) {
      out.emplace_back(text);
      return out;
    }
    size_t end = 0;
    while (end < text.size() && !is_python_space(code_point(text, end))) {
      end += utf8_step(text, end).bytes;
    }
    out.emplace_back(text.substr(0, end));
    text.remove_prefix(end);
  }
}

std::vector<std::string> split_from_right(std::string_view text,
                                          const std::optional<std::string>& separator,
                                          int64_t most) {
  if (most < 0) return split(text, separator, most);
  std::vector<std::string> out;
  const auto may_cut = [&] { return static_cast<int64_t>(out.size()) < most; };
  if (separator) {
    if (separator->empty()) fail("splits a text at an empty separator; name one");
    for (size_t at = text.rfind(*separator); may_cut() && at != std::string_view::npos;
         at = text.rfind(*separator)) {
      out.emplace_back(text.substr(at + separator->size()));
      text = text.substr(0, at);
    }
    out.emplace_back(text);
  } else {
    while (true) {
      text = strip(text, std::nullopt, false, true);
      if (text.empty()) break;
      if (!may_cut()) {
        out.emplace_back(text);
        break;
      }
      size_t begin = text.size();
      while (begin > 0) {
        const size_t before = last_character(text.substr(0, begin));
        if (is_python_space(code_point(text, before))) break;
        begin = before;
      }
      out.emplace_back(text.substr(begin));
      text = text.substr(0, begin);
    }
  }
  std::reverse(out.begin(), out.end());
  return out;
}

std::vector<std::string> split_lines(std::string_view text) {
  std::vector<std::string> out;
  size_t begin = 0;
  for (size_t pos = 0; pos < text.size();) {
    const Utf8Step step = utf8_step(text, pos);
    const size_t end = pos;
    pos += step.bytes;
    if (!is_line_end(step.code_point)) continue;
    if (step.code_point == '\r' && pos < text.size() && text[pos] == '\n') ++pos;
    out.emplace_back(text.substr(begin, end - begin));
    begin = pos;
  }
  if (begin < text.size()) out.emplace_back(text.substr(begin));
  return out;
}

std::string replace(std::string_view text, std::string_view from, std::string_view to,
                    int64_t most) {
  std::string out;
  size_t pos = 0;
  for (int64_t done = 0; most < 0 || done < most; ++done) {
    if (from.empty()) {
      out += to;
      if (pos == text.size()) return out;
      const size_t bytes = utf8_step(text, pos).bytes;
      out += text.substr(pos, bytes);
      pos += bytes;
    } else {
      const size_t at = text.find(from, pos);
      if (at == std::string_view::npos) break;
      out += text.substr(pos, at - pos);
      out += to;
      pos = at + from.size();
    }
    if (out.size() > kMaxValueSize) fail("builds a text of more than 16777216 bytes");
  }
  return out.append(text.substr(pos));
}

int64_t count(std::string_view text, std::string_view part) {
  if (part.empty()) return static_cast<int64_t>(length(text)) + 1;
  int64_t out = 0;
  for (size_t at = text.find(part); at != std::string_view::npos;
       at = text.find(part, at + part.size())) {
    ++out;
  }
  return out;
}

std::string upper(std::string_view text) { return mapped(text, to_upper_one); }
std::string lower(std::string_view text) { return mapped(text, to_lower_one); }

std::string capitalize(std::string_view text) {
  if (text.empty()) return "";
  const size_t bytes = utf8_step(text, 0).bytes;
  return upper(text.substr(0, bytes)) + lower(text.substr(bytes));
}

std::string title_method(std::string_view text) {
  bool in_word = false;
  return mapped(text, [&](char32_t c) {
    if (c >= 0x80) fail("calls title() on a text that is not ASCII, which is not supported");
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    const char32_t out = in_word ? to_lower_one(c) : to_upper_one(c);
    in_word = letter;
    return out;
  });
}

std::string title_filter(std::string_view text) {
  bool in_word = false;
  return mapped(text, [&](char32_t c) {
    if (is_python_space(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<') {
      in_word = false;
      return c;
    }
    const char32_t out = in_word ? to_lower_one(c) : to_upper_one(c);
    in_word = true;
    return out;
  });
}

namespace {

// Some letter lies in one case and none in the other one.
bool has_only(std::string_view text, char first, char last, char other_first, char other_last) {
  bool any = false;
  for (const char c : text) {
    if ((static_cast<unsigned char>(c) & 0x80u) != 0) {
      fail("asks for the case of a text that is not ASCII, which is not supported");
    }
    if (c >= other_first && c <= other_last) return false;
    any |= c >= first && c <= last;
  }
  return any;
}

}  // namespace

bool is_lower(std::string_view text) { return has_only(text, 'a', 'z', 'A', 'Z'); }
bool is_upper(std::string_view text) { return has_only(text, 'A', 'Z', 'a', 'z'); }

}  // namespace pocket::jinja
