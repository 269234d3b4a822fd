// Regular expressions of tokenizer.json: Oniguruma's (Ruby) dialect, run by PCRE2.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace pocket {

struct Span {
  size_t begin, end;  // bytes
};

// The same expression in PCRE2's dialect (UTF, UCP, MULTILINE, newline = LF). Classes are spelled
// out so that both engines agree on every code point: \s is White_Space (PCRE2 adds U+180E), \h is
// a hex digit, \w and \p{..} follow the Unicode version of the tokenizers package.
// Error bad_input names what cannot be carried over.
std::string pcre2_pattern(std::string_view oniguruma_pattern);

// Body of a PCRE2 bracket for a set of unicode_tables.h: "Lu", "rust:word", ... Empty if unknown.
std::string character_class(std::string_view name);

// A compiled expression. Copies share it; finding is const and safe from several threads.
class Regex {
 public:
  // Error bad_input when the expression cannot be carried over or compiled.
  static Regex oniguruma(std::string_view pattern);
  static Regex pcre2(const std::string& pattern);
  static Regex literal(std::string_view text);  // empty text matches nowhere

  // All matches from left to right; no empty match directly after the previous one. text must be
  // valid UTF-8. Error bad_input when the expression needs too many steps.
  std::vector<Span> find_all(std::string_view text) const;
  bool matches(std::string_view text) const { return !find_all(text).empty(); }

 private:
  struct Code;
  std::shared_ptr<const Code> code_;
  std::string literal_;
};

}  // namespace pocket
