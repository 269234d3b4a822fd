// Oniguruma (Ruby syntax) -> PCRE2. One pass over the pattern; what is not known is refused.
#include <algorithm>
#include <iterator>
#include <optional>

#include "runtime/base/error.h"
#include "runtime/text/regex.h"
#include "runtime/text/unicode.h"
#include "runtime/text/unicode_tables.h"

namespace pocket {

namespace {

const CharacterSet* find_set(std::string_view name) {
  const auto* it = std::find_if(std::begin(kCharacterSets), std::end(kCharacterSets),
                                [&](const CharacterSet& set) { return set.name == name; });
  return it == std::end(kCharacterSets) ? nullptr : it;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

class Translator {
 public:
  explicit Translator(std::string_view in) : in_(in) {}

  std::string run() {
    scopes_.push_back({0, false});
    while (pos_ < in_.size()) element();
    return std::move(out_);
  }

 private:
  struct Scope {
    size_t begin;  // where the group starts in out_
    bool caseless;
  };
  // A set of characters: body of a bracket, and whether its complement is meant.
  struct Set {
    std::string body;
    bool negated = false;
  };

  [[noreturn]] void refuse(const std::string& what) const {
    throw Error(ExitCode::bad_input, "tokenizer: " + what + " in regular expression '" +
                                         std::string(in_.substr(0, 200)) +
                                         "' is not supported; export with a simpler pattern");
  }

  char peek(size_t ahead = 0) const { return pos_ + ahead < in_.size() ? in_[pos_ + ahead] : '\0'; }
  bool take(std::string_view text) {
    if (!in_.substr(pos_).starts_with(text)) return false;
    pos_ += text.size();
    return true;
  }

  void element() {
    const size_t start = out_.size();
    const char c = in_[pos_];
    switch (c) {
      case '\\': {
        ++pos_;
        if (const auto set = set_escape()) {
          out_ += (set->negated ? "[^" : "[") + set->body + "]";
        } else if (!assertion()) {
          out_ += literal_escape();
        }
        break;
      }
      case '[':
        ++pos_;
        bracket();
        break;
      case '(':
        ++pos_;
        open_group();
        return;
      case ')': {
        if (scopes_.size() == 1) refuse("')' without '('");
        ++pos_;
        out_ += ')';
        atom_ = scopes_.back().begin;
        scopes_.pop_back();
        return;
      }
      case '*':
      case '+':
      case '?':
        ++pos_;
        out_ += c;
        if (peek() == '?' || peek() == '+') out_ += in_[pos_++];
        return;
      case '{':
        if (interval()) return;
        ++pos_;
        out_ += "\\{";
        break;
      default: {
        const size_t bytes = utf8_step(in_, pos_).bytes;
        out_ += in_.substr(pos_, bytes);
        pos_ += bytes;
      }
    }
    atom_ = start;
  }

  // \b, \A, ...: true when taken.
  bool assertion() {
    const char c = peek();
    const std::string word = "[" + character_class("onig:word") + "]";
    const std::string before = "(?<=" + word + ")", not_before = "(?<!" + word + ")";
    const std::string after = "(?=" + word + ")", not_after = "(?!" + word + ")";
    if (c == 'b') {
      out_ += "(?:" + before + not_after + "|" + not_before + after + ")";
    } else if (c == 'B') {
      out_ += "(?:" + before + after + "|" + not_before + not_after + ")";
    } else if (c == 'A' || c == 'z' || c == 'Z' || c == 'R') {
      out_ += std::string("\\") + c;
    } else {
      return false;
    }
    ++pos_;
    return true;
  }

  std::optional<Set> set_escape() {
    const char c = peek();
    Set set;
    switch (c) {
      case 's':
      case 'S':
        set = {std::string(kWhiteSpaceClass), c == 'S'};
        break;
      case 'd':
      case 'D':
        set = {character_class("Nd"), c == 'D'};
        break;
      case 'w':
      case 'W':
        set = {character_class("onig:word"), c == 'W'};
        break;
      case 'h':
      case 'H':
        set = {"0-9A-Fa-f", c == 'H'};
        break;
      case 'p':
      case 'P': {
        const size_t close = in_.find('}', pos_);
        if (peek(1) != '{' || close == std::string_view::npos) refuse("\\p without {}");
        std::string name(in_.substr(pos_ + 2, close - pos_ - 2));
        set.negated = c == 'P';
        if (name.starts_with('^')) {
          set.negated = !set.negated;
          name.erase(0, 1);
        }
        set.body = property(name);
        pos_ = close + 1;
        return set;
      }
      default:
        return std::nullopt;
    }
    ++pos_;
    return set;
  }

  std::string property(const std::string& name) const {
    if (scopes_.back().caseless && (name == "Lu" || name == "Ll" || name == "Lt")) {
      refuse("\\p{" + name + "} without case");
    }
    if (name.find(':') != std::string::npos) refuse("property '" + name + "'");
    std::string body = character_class(name);
    if (body.empty()) {
      // A group of categories is the union of its members: L, M, N, P, S, Z.
      static constexpr std::string_view kGroups = "LMNPSZ";
      if (name.size() == 1 && kGroups.find(name[0]) != std::string_view::npos) {
        body = "\\p{" + name + "}";
        for (const CharacterSet& set : kCharacterSets) {
          if (set.name.size() == 2 && set.name[0] == name[0]) body += set.additions;
        }
      }
    }
    if (body.empty()) refuse("property '" + name + "'");
    return body;
  }

  // One character after a backslash, spelled for PCRE2.
  std::string literal_escape() {
    const char c = peek();
    switch (c) {
      case 'n':
      case 'r':
      case 't':
      case 'f':
      case 'a':
      case 'e':
        ++pos_;
        return std::string("\\") + c;
      case 'v':
        ++pos_;
        return "\\x{b}";
      case 'u':
      case 'x':
        return numeric_escape();
      default:
        break;
    }
    if (pos_ >= in_.size()) refuse("a trailing backslash");
    const bool alphanumeric = is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (alphanumeric) refuse(std::string("'\\") + c + "'");
    const size_t bytes = utf8_step(in_, pos_).bytes;
    std::string out = bytes == 1 && c > ' ' ? "\\" : "";
    out += in_.substr(pos_, bytes);
    pos_ += bytes;
    return out;
  }

  std::string numeric_escape() {
    const bool wide = in_[pos_++] == 'u';
    const bool braces = !wide && peek() == '{';
    if (braces) ++pos_;
    std::string digits;
    const size_t most = braces ? 8 : wide ? 4 : 2;
    while (digits.size() < most && is_hex(peek())) digits += in_[pos_++];
    const bool complete = braces ? !digits.empty() && peek() == '}' : digits.size() == most;
    const unsigned long value = complete ? std::stoul(digits, nullptr, 16) : 0;
    if (!complete || (!braces && !wide && value > 0x7F)) refuse("a \\x or \\u escape");
    if (braces) ++pos_;
    return "\\x{" + digits + "}";
  }

  void bracket() {
    out_ += '[';
    if (take("^")) out_ += '^';
    if (peek() == ']') refuse("']' first in a bracket");
    bracket_items(0);
    out_ += ']';
  }

  // Items up to the closing ']'. A nested bracket is a union and is flattened.
  void bracket_items(int depth) {
    if (depth > 8) refuse("a bracket nested deeper than 8");
    bool after_set = true;  // a '-' here cannot start a range
    for (;;) {
      if (pos_ >= in_.size()) refuse("'[' without ']'");
      if (take("]")) return;
      if (take("&&")) refuse("'&&' in a bracket");
      const char c = peek();
      if (c == '[') {
        ++pos_;
        if (peek() == ':') refuse("a POSIX bracket");
        if (peek() == '^') refuse("a negated bracket in a bracket");
        if (peek() == ']') refuse("']' first in a bracket");
        bracket_items(depth + 1);
        after_set = true;
      } else if (c == '-') {
        ++pos_;
        const bool before_set =
            peek() == ']' || peek() == '[' ||
            (peek() == '\\' && std::string_view("sSdDwWhHpP").find(peek(1)) != std::string::npos);
        out_ += after_set || before_set ? "\\-" : "-";
        after_set = after_set || before_set;
      } else if (c == '\\') {
        ++pos_;
        after_set = false;
        if (const auto set = set_escape()) {
          if (set->negated && set->body != kWhiteSpaceClass) refuse("a negated set in a bracket");
          // PCRE2's \S lacks U+180E.
          out_ += set->negated ? "\\S\\x{180e}" : set->body;
          after_set = true;
        } else if (peek() == 'b') {
          ++pos_;
          out_ += "\\x{8}";
        } else {
          out_ += literal_escape();
        }
      } else {
        const size_t bytes = utf8_step(in_, pos_).bytes;
        if (c == '^') out_ += '\\';  // a flattened bracket must not begin with it
        out_ += in_.substr(pos_, bytes);
        pos_ += bytes;
        after_set = false;
      }
    }
  }

  void open_group() {
    const size_t begin = out_.size();
    Scope scope{begin, scopes_.back().caseless};
    if (scopes_.size() > 200) refuse("a group nested deeper than 200");
    static constexpr std::string_view kPlain[] = {"?:", "?=", "?!", "?<=", "?<!", "?>"};
    for (const std::string_view head : kPlain) {
      if (!take(head)) continue;
      out_ += "(" + std::string(head);
      scopes_.push_back(scope);
      return;
    }
    if (!take("?")) {
      if (peek() == '*') refuse("'(*'");  // a verb of PCRE2
      out_ += '(';
      scopes_.push_back(scope);
      return;
    }
    bool on = true;
    std::string flags;
    while (peek() == 'i' || peek() == 'm' || peek() == '-') {
      const char c = in_[pos_++];
      if (c == '-') on = false;
      if (c == 'i') scope.caseless = on;
      flags += c == 'm' ? 's' : c;  // Ruby's m: the dot matches a newline
    }
    if (take(":")) {
      out_ += "(?" + flags + ":";
      scopes_.push_back(scope);
    } else if (!flags.empty() && begin == scopes_.back().begin && scopes_.size() == 1 &&
               take(")")) {
      out_ += "(?" + flags + ")";
      scopes_.back().caseless = scope.caseless;
      scopes_.back().begin = out_.size();
    } else {
      refuse("group '(?" + flags + std::string(in_.substr(pos_, 1)) + "'");
    }
  }

  // {n}, {n,}, {,m}, {n,m} and what follows; false when '{' stands for itself.
  bool interval() {
    size_t at = pos_ + 1;
    std::string low, high;
    bool comma = false;
    while (at < in_.size() && is_digit(in_[at])) low += in_[at++];
    if (at < in_.size() && in_[at] == ',') {
      comma = true;
      ++at;
      while (at < in_.size() && is_digit(in_[at])) high += in_[at++];
    }
    if (at >= in_.size() || in_[at] != '}' || (low.empty() && high.empty())) return false;
    pos_ = at + 1;
    out_ += "{" + (low.empty() ? "0" : low) + (comma ? "," : "") + high + "}";
    if (peek() == '?') {
      if (!comma) refuse("'{n}?'");
      ++pos_;
      out_ += '?';
    } else if (peek() == '+' || peek() == '*') {
      // Not possessive in Ruby: the interval itself is repeated.
      out_ = out_.substr(0, atom_) + "(?:" + out_.substr(atom_) + ")";
    }
    return true;
  }

  std::string_view in_;
  size_t pos_ = 0;
  std::string out_;
  size_t atom_ = 0;  // where the last complete atom starts in out_
  std::vector<Scope> scopes_;
};

}  // namespace

std::string character_class(std::string_view name) {
  const CharacterSet* set = find_set(name);
  return set == nullptr ? "" : std::string(set->base) + std::string(set->additions);
}

std::string pcre2_pattern(std::string_view pattern) {
  if (pattern.find('\0') != std::string_view::npos || to_valid_utf8(pattern) != pattern) {
    throw Error(ExitCode::bad_input, "tokenizer: a regular expression with NUL or invalid UTF-8");
  }
  return Translator(pattern).run();
}

}  // namespace pocket
