// str(), repr() and json.dumps() of Python.
#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "runtime/text/jinja/value.h"
#include "runtime/text/unicode.h"

namespace pocket::jinja {

namespace {

constexpr char kHex[] = "0123456789abcdef";

std::string hex(char32_t c, int digits) {
  std::string out(static_cast<size_t>(digits), '0');
  for (int i = digits - 1; i >= 0; --i, c >>= 4) out[static_cast<size_t>(i)] = kHex[c & 15u];
  return out;
}

// The shortest digits that read back as the same number; an exponent below 1e-4 and from 1e16.
std::string print_real(double value, bool json) {
  if (std::isnan(value)) return json ? "NaN" : "nan";
  if (std::isinf(value)) {
    const std::string name = json ? "Infinity" : "inf";
    return value < 0 ? "-" + name : name;
  }
  std::array<char, 64> digits{};
  const auto scientific = std::to_chars(digits.data(), digits.data() + digits.size(), value,
                                        std::chars_format::scientific);
  const std::string_view text(digits.data(), static_cast<size_t>(scientific.ptr - digits.data()));
  const size_t e = text.find('e');
  int exponent = 0;
  std::from_chars(text.data() + e + (text[e + 1] == '+' ? 2 : 1), text.data() + text.size(),
                  exponent);
  if (value == 0) return std::signbit(value) ? "-0.0" : "0.0";
  if (exponent < -4 || exponent >= 16) return std::string(text);
  std::array<char, 64> fixed{};
  const auto end =
      std::to_chars(fixed.data(), fixed.data() + fixed.size(), value, std::chars_format::fixed);
  std::string out(fixed.data(), static_cast<size_t>(end.ptr - fixed.data()));
  if (out.find('.') == std::string::npos) out += ".0";
  return out;
}

bool is_printable(char32_t c) {
  if (c == ' ') return true;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
      return false;
    default:
      return true;
  }
}

std::string repr_text(const std::string& text) {
  const bool has_single = text.find('\'') != std::string::npos;
  const char quote = has_single && text.find('"') == std::string::npos ? '"' : '\'';
  std::string out(1, quote);
  for (size_t pos = 0; pos < text.size();) {
    const Utf8Step step = utf8_step(text, pos);
    const char32_t c = step.code_point;
    if (c == static_cast<unsigned char>(quote) || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c == '\n' || c == '\r' || c == '\t') {
      out += c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t";
    } else if (is_printable(c)) {
      out.append(text, pos, step.bytes);
    } else if (c < 0x100) {
      out += "\\x" + hex(c, 2);
    } else if (c < 0x10000) {
      out += "\\u" + hex(c, 4);
    } else {
      out += "\\U" + hex(c, 8);
    }
    pos += step.bytes;
  }
  return out + quote;
}

std::string json_text(const std::string& text, bool ascii) {
  std::string out = "\"";
  for (size_t pos = 0; pos < text.size();) {
    const Utf8Step step = utf8_step(text, pos);
    const char32_t c = step.code_point;
    static constexpr std::string_view kPlain = "\"\\\b\f\n\r\t", kNamed = "\"\\bfnrt";
    const size_t named = c < 0x80 ? kPlain.find(static_cast<char>(c)) : std::string_view::npos;
    if (named != std::string_view::npos) {
      out += '\\';
      out += kNamed[named];
    } else if (c < 0x20 || (ascii && c >= 0x7F && c < 0x10000)) {
      out += "\\u" + hex(c, 4);
    } else if (ascii && c >= 0x10000) {
      out += "\\u" + hex(0xD800 + ((c - 0x10000) >> 10), 4);
      out += "\\u" + hex(0xDC00 + ((c - 0x10000) & 0x3FF), 4);
    } else {
      out.append(text, pos, step.bytes);
    }
    pos += step.bytes;
  }
  return out + "\"";
}

std::string json_key(const Value& key, bool ascii) {
  return json_text(key.is_text() ? key.text() : std::to_string(key.integer().value_or(0)), ascii);
}

std::string json_value(const Value& value, const JsonStyle& style, int level) {
  if (value.is_none()) return "null";
  if (value.is_bool()) return truth(value) ? "true" : "false";
  if (value.is_int()) return std::to_string(*value.integer());
  if (value.is_real()) return print_real(value.real(), true);
  if (value.is_text()) return json_text(value.text(), style.ascii);
  const auto line = [&](int at) {
    if (!style.indent) return std::string();
    std::string out = "\n";
    for (int i = 0; i < at; ++i) out += *style.indent;
    return out;
  };
  std::string out;
  const auto separate = [&] { out += (out.empty() ? "" : style.item_separator) + line(level + 1); };
  if (value.list() != nullptr && value.list()->has_items() &&
      value.list()->kind != List::Kind::range) {
    for (const Value& item : value.list()->items) {
      separate();
      out += json_value(item, style, level + 1);
    }
    return out.empty() ? "[]" : "[" + out + line(level) + "]";
  }
  if (value.dict() != nullptr) {
    auto items = value.dict()->items;
    if (style.sort_keys) {
      std::stable_sort(items.begin(), items.end(),
                       [](const auto& a, const auto& b) { return compare(a.first, b.first) < 0; });
    }
    for (const auto& [key, item] : items) {
      separate();
      out += json_key(key, style.ascii) + style.key_separator;
      out += json_value(item, style, level + 1);
    }
    return out.empty() ? "{}" : "{" + out + line(level) + "}";
  }
  fail(std::string("writes a value of type ") + value.type_name() + " as JSON");
}

}  // namespace

std::string to_text(const Value& value) {
  if (value.is_text()) return value.text();
  if (value.is_undefined()) return "";
  return repr(value);
}

std::string repr(const Value& value) {
  if (value.is_undefined()) return "Undefined";
  if (value.is_none()) return "None";
  if (value.is_bool()) return truth(value) ? "True" : "False";
  if (value.is_int()) return std::to_string(*value.integer());
  if (value.is_real()) return print_real(value.real(), false);
  if (value.is_text()) return repr_text(value.text());
  std::string out;
  if (value.list() != nullptr && value.list()->has_items() &&
      value.list()->kind != List::Kind::range) {
    for (const Value& item : value.list()->items) out += (out.empty() ? "" : ", ") + repr(item);
    if (value.list()->kind == List::Kind::list) return "[" + out + "]";
    return "(" + out + (value.list()->items.size() == 1 ? ",)" : ")");
  }
  if (value.dict() != nullptr) {
    for (const auto& [key, item] : value.dict()->items) {
      out += (out.empty() ? "" : ", ") + repr(key) + ": " + repr(item);
    }
    return "{" + out + "}";
  }
  fail(std::string("prints a value of type ") + value.type_name() + ", which is not supported");
}

std::string to_json(const Value& value, const JsonStyle& style) {
  return json_value(value, style, 0);
}

}  // namespace pocket::jinja
