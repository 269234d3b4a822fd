#define PCRE2_CODE_UNIT_WIDTH 8
#include "runtime/text/regex.h"

#include <pcre2.h>

#include <algorithm>
#include <array>

#include "runtime/base/error.h"
#include "runtime/text/unicode.h"

namespace pocket {

namespace {

constexpr size_t kMaxPatternBytes = 1 << 16;

std::string message_of(int error) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(error, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

struct FreeContext {
  void operator()(pcre2_compile_context* context) const { pcre2_compile_context_free(context); }
};
struct FreeMatch {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};
struct FreeMatchContext {
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};

// Backtracking steps allowed for one match. Public patterns need about one per byte of a run.
uint32_t match_limit(size_t text_bytes) {
  return static_cast<uint32_t>(1000000 + 20 * std::min(text_bytes, size_t{100000000}));
}

}  // namespace

struct Regex::Code {
  explicit Code(const std::string& pattern) {
    if (pattern.size() > kMaxPatternBytes) {
      throw Error(ExitCode::bad_input, "tokenizer: a regular expression of " +
                                           std::to_string(pattern.size()) +
                                           " bytes is not supported; at most 65536");
    }
    const std::unique_ptr<pcre2_compile_context, FreeContext> context(
        pcre2_compile_context_create(nullptr));
    if (!context) throw Error(ExitCode::out_of_memory, "tokenizer: no memory for PCRE2");
    pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
    int error = 0;
    PCRE2_SIZE offset = 0;
    code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                         PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error,
                         &offset, context.get());
    if (code == nullptr) {
      throw Error(ExitCode::bad_input, "tokenizer: regular expression '" + pattern.substr(0, 200) +
                                           "' is not supported; PCRE2: " + message_of(error) +
                                           " at byte " + std::to_string(offset));
    }
    pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);  // without it pcre2_match interprets: same result
  }
  ~Code() { pcre2_code_free(code); }
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;

  pcre2_code* code = nullptr;
};

Regex Regex::oniguruma(std::string_view pattern) { return pcre2(pcre2_pattern(pattern)); }

Regex Regex::pcre2(const std::string& pattern) {
  Regex regex;
  regex.code_ = std::make_shared<const Code>(pattern);
  return regex;
}

Regex Regex::literal(std::string_view text) {
  Regex regex;
  regex.literal_ = text;
  return regex;
}

std::vector<Span> Regex::find_all(std::string_view text) const {
  std::vector<Span> out;
  if (!code_) {
    if (literal_.empty()) return out;
    for (size_t at = text.find(literal_); at != std::string_view::npos;
         at = text.find(literal_, at + literal_.size())) {
      out.push_back({at, at + literal_.size()});
    }
    return out;
  }
  const std::unique_ptr<pcre2_match_data, FreeMatch> data(pcre2_match_data_create(1, nullptr));
  const std::unique_ptr<pcre2_match_context, FreeMatchContext> context(
      pcre2_match_context_create(nullptr));
  if (!data || !context) throw Error(ExitCode::out_of_memory, "tokenizer: no memory for PCRE2");
  pcre2_set_match_limit(context.get(), match_limit(text.size()));
  const PCRE2_SIZE* range = pcre2_get_ovector_pointer(data.get());
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  size_t from = 0;
  bool any = false;
  while (from <= text.size()) {
    int count = pcre2_match(code_->code, subject, text.size(), from, PCRE2_NO_UTF_CHECK, data.get(),
                            context.get());
    if (count == PCRE2_ERROR_JIT_STACKLIMIT) {
      count = pcre2_match(code_->code, subject, text.size(), from,
                          PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, data.get(), context.get());
    }
    if (count == PCRE2_ERROR_NOMATCH) break;
    if (count < 0) {
      throw Error(
          ExitCode::bad_input,
          "tokenizer: a regular expression failed on this text; PCRE2: " + message_of(count));
    }
    const size_t begin = range[0], end = range[1];
    if (end < begin) {  // \K in a lookahead
      throw Error(ExitCode::bad_input, "tokenizer: a regular expression ends before it begins");
    }
    if (begin == end && any && out.back().end == end) {
      // Oniguruma's iterator steps one character on from here.
      from = from < text.size() ? from + utf8_step(text, from).bytes : from + 1;
      continue;
    }
    out.push_back({begin, end});
    any = true;
    from = end;
  }
  return out;
}

}  // namespace pocket
