#include "runtime/text/jinja/lexer.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "runtime/text/jinja/text.h"
#include "runtime/text/jinja/value.h"
#include "runtime/text/unicode.h"

namespace pocket::jinja {

void fail_at(int line, const std::string& what) {
  fail("cannot be used, line " + std::to_string(line) + ": " + what);
}

namespace {

using Kind = Token::Kind;

std::string with_plain_line_ends(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out += source[i];
    } else {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    }
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_word(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(with_plain_line_ends(source)) {}

  std::vector<Token> run() {
    while (pos_ < source_.size()) data();
    add(Kind::end, "");
    return std::move(tokens_);
  }

 private:
  struct Tag {
    size_t begin;
    char kind;       // '%', '{', '#', or 'r' for a raw block
    char sign;       // '-', '+' or 0
    size_t content;  // what comes after the opening
  };

  bool at(size_t pos, std::string_view text) const {
    return std::string_view(source_).substr(std::min(pos, source_.size())).starts_with(text);
  }
  size_t skip_space(size_t pos) const {
    while (pos < source_.size()) {
      const Utf8Step step = utf8_step(source_, pos);
      if (!is_python_space(step.code_point)) break;
      pos += step.bytes;
    }
    return pos;
  }
  char sign_at(size_t pos) const {
    return pos < source_.size() && (source_[pos] == '-' || source_[pos] == '+') ? source_[pos] : 0;
  }

  // Goes to pos and counts the lines on the way. What was passed last decides whether a line
  // begins here.
  void move_to(size_t pos) {
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<std::ptrdiff_t>(pos_),
                                         source_.begin() + static_cast<std::ptrdiff_t>(pos), '\n'));
    if (pos > pos_) line_starting_ = source_[pos - 1] == '\n';
    pos_ = pos;
  }
  void add(Kind kind, std::string text) {
    tokens_.push_back({.kind = kind, .text = std::move(text), .line = line_});
  }

  // The next opening at or after pos_.
  bool find_tag(Tag& tag) const {
    for (size_t i = source_.find('{', pos_); i != std::string::npos; i = source_.find('{', i + 1)) {
      const char kind = i + 1 < source_.size() ? source_[i + 1] : 0;
      if (kind != '%' && kind != '{' && kind != '#') continue;
      const char sign = sign_at(i + 2);
      tag = {i, kind, sign, i + 2 + (sign != 0)};
      if (kind == '%') {
        const size_t word = skip_space(tag.content);
        size_t end = 0;
        if (at(word, "raw") && raw_tag_end(skip_space(word + 3), end)) {
          tag.kind = 'r';
          tag.content = end;
        }
      }
      return true;
    }
    return false;
  }
  // "%}" or "-%}" with the white space after it.
  bool raw_tag_end(size_t pos, size_t& end) const {
    if (at(pos, "%}")) {
      end = pos + 2;
      return true;
    }
    if (!at(pos, "-%}")) return false;
    end = skip_space(pos + 3);
    return true;
  }
  // Behind a closing "%}" or "#}" at pos (its sign first), 0 when there is none.
  size_t close(size_t pos, char kind) const {
    const std::string closing{kind, '}'};
    if (at(pos, "+" + closing)) return pos + 3;
    if (at(pos, "-" + closing)) return skip_space(pos + 3);
    if (!at(pos, closing)) return 0;
    return pos + 2 + at(pos + 2, "\n");
  }

  // The text before a tag, shortened as the tag's sign and lstrip_blocks want it.
  std::string before_tag(size_t begin, size_t end, char sign, bool variable) const {
    const std::string_view text = std::string_view(source_).substr(begin, end - begin);
    if (sign == '-') return std::string(strip(text, std::nullopt, false, true));
    if (sign == '+' || variable) return std::string(text);
    const size_t newline = text.rfind('\n');
    const size_t line = newline == std::string_view::npos ? 0 : newline + 1;
    if (line == 0 && !line_starting_) return std::string(text);
    if (strip(text.substr(line), std::nullopt, true, false).empty()) {
      return std::string(text.substr(0, line));
    }
    return std::string(text);
  }

  void data() {
    Tag tag{};
    if (!find_tag(tag)) {
      add(Kind::data, source_.substr(pos_));
      move_to(source_.size());
      return;
    }
    std::string text = before_tag(pos_, tag.begin, tag.sign, tag.kind == '{');
    if (!text.empty()) add(Kind::data, std::move(text));
    move_to(tag.content);
    if (tag.kind == '#') {
      comment();
    } else if (tag.kind == 'r') {
      raw();
    } else {
      add(tag.kind == '%' ? Kind::block_begin : Kind::variable_begin, "");
      tag_body(tag.kind == '%');
    }
  }

  void comment() {
    for (size_t i = pos_; i < source_.size(); ++i) {
      if (const size_t end = close(i, '#')) {
        move_to(end);
        return;
      }
    }
    fail_at(line_, "the comment has no end");
  }

  void raw() {
    for (size_t i = source_.find("{%", pos_); i != std::string::npos;
         i = source_.find("{%", i + 1)) {
      const char sign = sign_at(i + 2);
      const size_t word = skip_space(i + 2 + (sign != 0));
      if (!at(word, "endraw")) continue;
      const size_t end = close(skip_space(word + 6), '%');
      if (end == 0) continue;
      std::string text = before_tag(pos_, i, sign, false);
      if (!text.empty()) add(Kind::data, std::move(text));
      move_to(end);
      return;
    }
    fail_at(line_, "the raw block has no end");
  }

  void tag_body(bool block) {
    std::string open;  // brackets that wait for their partner
    while (true) {
      if (pos_ >= source_.size()) fail_at(line_, "a tag has no end");
      if (open.empty()) {
        const size_t end = block ? close(pos_, '%') : close_variable();
        if (end != 0) {
          add(block ? Kind::block_end : Kind::variable_end, "");
          move_to(end);
          return;
        }
      }
      const char c = source_[pos_];
      if (const size_t next = skip_space(pos_); next != pos_) {
        move_to(next);
      } else if (is_digit(c)) {
        number();
      } else if (is_word(c)) {
        size_t end = pos_;
        while (end < source_.size() && is_word(source_[end])) ++end;
        if (end < source_.size() && (static_cast<unsigned char>(source_[end]) & 0x80u) != 0) {
          fail_at(line_, "names may hold only ASCII letters, digits and _");
        }
        add(Kind::name, source_.substr(pos_, end - pos_));
        move_to(end);
      } else if (c == '\'' || c == '"') {
        string();
      } else {
        operation(open);
      }
    }
  }
  size_t close_variable() const {
    if (at(pos_, "}}")) return pos_ + 2;
    return at(pos_, "-}}") ? skip_space(pos_ + 3) : 0;
  }

  void operation(std::string& open) {
    static constexpr std::array<std::string_view, 26> kOperators = {
        "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
        "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};
    for (const std::string_view op : kOperators) {
      if (!at(pos_, op)) continue;
      if (op == "(" || op == "[" || op == "{") {
        open += op == "(" ? ')' : op == "[" ? ']' : '}';
        if (open.size() > 100) fail_at(line_, "brackets nest deeper than 100");
      } else if (op == ")" || op == "]" || op == "}") {
        if (open.empty() || open.back() != op[0]) {
          fail_at(line_, "'" + std::string(op) + "' closes no bracket");
        }
        open.pop_back();
      }
      add(Kind::op, std::string(op));
      move_to(pos_ + op.size());
      return;
    }
    const std::string_view rest = std::string_view(source_).substr(pos_);
    fail_at(line_, "'" + std::string(rest.substr(0, utf8_step(rest, 0).bytes)) +
                       "' does not belong into a tag");
  }

  void number() {
    size_t end = pos_;
    const auto digits = [&] {
      while (end < source_.size() && is_digit(source_[end])) ++end;
    };
    digits();
    // No fraction after a dot: x.0.1 is two attributes.
    const bool may_be_real = pos_ == 0 || source_[pos_ - 1] != '.';
    bool real = false;
    if (may_be_real && end + 1 < source_.size() && source_[end] == '.' &&
        is_digit(source_[end + 1])) {
      real = true;
      ++end;
      digits();
    }
    if (may_be_real && end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
      size_t exponent = end + 1;
      exponent += exponent < source_.size() && sign_at(exponent) != 0;
      if (exponent < source_.size() && is_digit(source_[exponent])) {
        real = true;
        end = exponent;
        digits();
      }
    }
    const std::string text = source_.substr(pos_, end - pos_);
    if (end < source_.size() && is_word(source_[end])) {
      fail_at(line_, "the number '" + text + source_[end] + "' is not supported");
    }
    if (!real && text.size() > 1 && text[0] == '0' &&
        text.find_first_not_of('0') != std::string::npos) {
      fail_at(line_, "the number '" + text + "' begins with 0");
    }
    Token token{.kind = real ? Kind::real : Kind::integer, .text = text, .line = line_};
    const char* last = text.data() + text.size();
    const auto result = real ? std::from_chars(text.data(), last, token.real)
                             : std::from_chars(text.data(), last, token.integer);
    if (result.ec != std::errc() || result.ptr != last) {
      fail_at(line_, "the number '" + text.substr(0, 40) + "' is out of range");
    }
    tokens_.push_back(std::move(token));
    move_to(end);
  }

  void string() {
    const char quote = source_[pos_];
    std::string out;
    size_t i = pos_ + 1;
    while (true) {
      if (i >= source_.size()) fail_at(line_, "a string has no end");
      const char c = source_[i++];
      if (c == quote) break;
      if (c != '\\') {
        out += c;
      } else {
        escape(i, out);
      }
    }
    add(Kind::string, std::move(out));
    move_to(i);
  }

  // Python's escapes; i is behind the backslash. One that Python does not know stays as it is.
  void escape(size_t& i, std::string& out) const {
    if (i >= source_.size()) fail_at(line_, "a string has no end");
    static constexpr std::string_view kNames = "\\'\"abfnrtv", kValues = "\\'\"\a\b\f\n\r\t\v";
    const char c = source_[i++];
    if (const size_t found = kNames.find(c); found != std::string_view::npos) {
      out += kValues[found];
    } else if (c == 'x' || c == 'u' || c == 'U') {
      const size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : 8;
      uint32_t value = 0;
      const char* begin = source_.data() + i;
      const char* end = source_.data() + std::min(i + digits, source_.size());
      const auto result = std::from_chars(begin, end, value, 16);
      const bool scalar = value < 0x110000 && (value < 0xD800 || value >= 0xE000);
      if (result.ec != std::errc() || result.ptr != begin + digits || !scalar) {
        fail_at(line_, "a string has a bad \\" + std::string(1, c) + " escape");
      }
      append_utf8(out, value);
      i += digits;
    } else if (c >= '0' && c <= '7') {
      char32_t value = static_cast<char32_t>(c - '0');
      for (int more = 0; more < 2 && i < source_.size() && source_[i] >= '0' && source_[i] <= '7';
           ++more) {
        value = value * 8 + static_cast<char32_t>(source_[i++] - '0');
      }
      append_utf8(out, value);
    } else if (c == 'N' || (static_cast<unsigned char>(c) & 0x80u) != 0) {
      fail_at(line_, "a string has an escape that is not supported");
    } else if (c != '\n') {
      out += '\\';
      out += c;
    }
  }

  std::string source_;
  size_t pos_ = 0;
  int line_ = 1;
  bool line_starting_ = true;  // the last thing read ended with a line
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source) { return Lexer(source).run(); }

}  // namespace pocket::jinja
