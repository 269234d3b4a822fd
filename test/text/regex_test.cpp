// Oniguruma's dialect on PCRE2. Expected pieces come from the Python package (Split, isolated).
#include "runtime/text/regex.h"

#include "runtime/base/error.h"
#include "runtime/text/pretokenizer.h"
#include "runtime/text/unicode.h"
#include "test/text/test_support.h"

using namespace pocket;
using namespace pocket::test;

namespace {

std::vector<std::string> pieces(std::string_view pattern, std::string_view text) {
  std::vector<std::string> out;
  for (const auto piece : split(text, Regex::oniguruma(pattern), SplitBehavior::isolated, false)) {
    out.emplace_back(piece);
  }
  return out;
}

bool matches_whole(const Regex& regex, char32_t c) {
  std::string text;
  append_utf8(text, c);
  const auto found = regex.find_all(text);
  return found.size() == 1 && found[0].begin == 0 && found[0].end == text.size();
}

using Pieces = std::vector<std::string>;

}  // namespace

TEST_CASE("white space is Unicode White_Space, in and out of brackets") {
  const Regex plain = Regex::oniguruma(R"(\s)"), inside = Regex::oniguruma(R"([\s])");
  const Regex outside = Regex::oniguruma(R"(\S)"), negated = Regex::oniguruma(R"([^\s])");
  const Regex complement = Regex::oniguruma(R"([\S])");
  size_t count = 0;
  for (char32_t c = 0; c < 0x3100; ++c) {
    const bool expected = is_white_space(c);
    count += expected;
    const bool all = matches_whole(plain, c) == expected && matches_whole(inside, c) == expected &&
                     matches_whole(outside, c) != expected &&
                     matches_whole(negated, c) != expected &&
                     matches_whole(complement, c) != expected;
    if (!all) FAIL("U+" << std::hex << static_cast<uint32_t>(c));
  }
  CHECK(count == 25);
  for (const char32_t c : {0x1Cu, 0x1Du, 0x1Eu, 0x1Fu, 0x180Eu, 0x200Bu, 0x2060u, 0xFEFFu}) {
    CHECK_FALSE(matches_whole(plain, c));
  }
  CHECK(matches_whole(plain, 0x85));
}

TEST_CASE("letters and numbers newer than PCRE2's Unicode are known") {
  CHECK(matches_whole(Regex::oniguruma(R"(\p{L})"), 0x31350));   // Unicode 15
  CHECK(matches_whole(Regex::oniguruma(R"(\p{Lo})"), 0x2EBF0));  // 15.1
  CHECK(matches_whole(Regex::oniguruma(R"(\p{N})"), 0x11BF0));   // 16
  CHECK(matches_whole(Regex::oniguruma(R"(\p{Han})"), 0x31350));
  CHECK_FALSE(matches_whole(Regex::oniguruma(R"([^\s\p{L}\p{N}])"), 0x31350));
  CHECK_FALSE(matches_whole(Regex::oniguruma(R"(\P{L})"), 0x31350));
  CHECK(matches_whole(Regex::oniguruma(R"(\P{L})"), '1'));
  CHECK_FALSE(matches_whole(Regex::oniguruma(R"(\p{Han})"), 0x30FC));  // a script extension only
}

TEST_CASE("case-insensitive groups follow Unicode simple folding") {
  const std::string_view contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
  CHECK(pieces(contractions, "he'Sx'ſ'LLy") == Pieces{"he", "'S", "x", "'ſ", "'LL", "y"});
  CHECK(pieces("(?i)ab|c", "xABCy") == Pieces{"x", "AB", "C", "y"});
  CHECK(pieces("(?i:k)", "kK\u212a.") == Pieces{"k", "K", "\u212a", "."});
}

TEST_CASE("Ruby's syntax keeps its meaning") {
  CHECK(pieces(R"(\h+)", "xyz12afg") == Pieces{"xyz", "12af", "g"});  // hex digits
  CHECK(pieces("a{1,2}+b", "aaaaab") == Pieces{"aaaaab"});            // repeated, not possessive
  CHECK(pieces("a{,2}b", "aaab") == Pieces{"a", "aab"});
  CHECK(pieces("^b$", "a\nb\nc") == Pieces{"a\n", "b", "\nc"});  // always multi-line
  CHECK(pieces("(?m:a.b)", "xa\nb") == Pieces{"x", "a\nb"});     // m is dotall
  CHECK(pieces("a.b", "a\nb") == Pieces{"a\nb"});
  CHECK(pieces("a{x", "ba{xc") == Pieces{"b", "a{x", "c"});
  CHECK(pieces(" ?[^(\\s|[.,!])]+", "ab, (c|d") == Pieces{"ab", ", (", "c", "|", "d"});
  CHECK(pieces(R"(\u0041\x{42}\x43)", "zABC") == Pieces{"z", "ABC"});
  CHECK(pieces(R"([\w\-.]+)", "a-b. c") == Pieces{"a-b.", " ", "c"});
  CHECK(pieces(R"([\p{L}-z]+)", "a-z1") == Pieces{"a-z", "1"});
  CHECK(pieces(R"(\bcat\b)", "cat concat cat") == Pieces{"cat", " concat ", "cat"});
}

TEST_CASE("what cannot be carried over is refused") {
  for (const std::string_view pattern :
       {"(",       ")",           "[",           "[]",           "[a",
        "a\\",     "\\p",         "\\p{",        "\\p{Foo}",     "\\p{rust:word}",
        "\\pL",    "[[:alpha:]]", "[a&&b]",      "[a[^b]]",      "[\\D]",
        "(?<n>a)", "(?x)a",       "a(?i)b",      "a{2}?",        "\\Q",
        "\\C",     "\\K",         "\\1",         "\\G",          "\\X",
        "\\xff",   "\\u12",       "\\x{110000}", "(?i:\\p{Lu})", "*",
        "(?#c)",   "(?R)",        "a{3,2}",      "a{99999999}",  "(*UTF)a"}) {
    INFO(pattern);
    CHECK_THROWS_AS(Regex::oniguruma(pattern), Error);
  }
  CHECK_THROWS_AS(Regex::oniguruma(std::string(100000, 'a')), Error);
  CHECK_THROWS_AS(Regex::oniguruma(std::string(5000, '(') + std::string(5000, ')')), Error);
  CHECK_THROWS_AS(Regex::oniguruma("(?:(?:a{1000}){1000}){1000}"), Error);
}

TEST_CASE("an expression that needs too long is an error, not a hang") {
  const Regex regex = Regex::oniguruma("(a+)+$");
  CHECK_THROWS_AS(regex.find_all(std::string(5000, 'a') + "b"), Error);
}
