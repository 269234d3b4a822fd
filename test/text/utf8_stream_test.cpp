#include "runtime/text/utf8_stream.h"

#include "runtime/text/byte_level.h"
#include "runtime/text/unicode.h"
#include "test/text/random_text.h"
#include "test/text/test_support.h"

using namespace pocket;
using namespace pocket::test;

TEST_CASE("every split of a text gives whole characters and the text") {
  const std::string text = "aé€😀\u0301z 日本語 👨\u200d👩\u200d👧!";
  for (size_t i = 0; i <= text.size(); ++i) {
    for (size_t j = i; j <= text.size(); ++j) {
      Utf8Stream stream;
      std::string all;
      for (const std::string& part : {text.substr(0, i), text.substr(i, j - i), text.substr(j)}) {
        const std::string out = stream.push(part);
        if (to_valid_utf8(out) != out) FAIL("not whole characters after " << i << ", " << j);
        all += out;
      }
      all += stream.flush();
      if (all != text) FAIL("split at " << i << ", " << j << ": " << escaped(all));
    }
  }
  SUCCEED();
}

TEST_CASE("ill-formed bytes become U+FFFD as in Python's errors=replace") {
  // bytes, and what Python 3's decode("utf-8", "replace") gives for them
  const std::pair<std::string, std::string> cases[] = {
      {"\xff", "\uFFFD"},
      {"a\x80z", "a\uFFFDz"},
      {"\xc0\xaf", "\uFFFD\uFFFD"},
      {"\xe0\x80\xaf", "\uFFFD\uFFFD\uFFFD"},
      {"\xed\xa0\x80", "\uFFFD\uFFFD\uFFFD"},
      {"\xf0\x9f\x98", "\uFFFD"},
      {"\xf0\x9f\x98z", "\uFFFDz"},
      {"\xf0\x9f\xf0\x9f\x98\x80", "\uFFFD\U0001F600"},
      {"\xf4\x90\x80\x80", "\uFFFD\uFFFD\uFFFD\uFFFD"},
      {"\xe2\x82\xe2\x82\xac", "\uFFFD\u20AC"},
      {std::string("\0\xc3", 2), std::string("\0\uFFFD", 4)},
  };
  for (const auto& [bytes, expected] : cases) {
    INFO(escaped(bytes));
    CHECK(to_valid_utf8(bytes) == expected);
    Utf8Stream stream;
    std::string all;
    for (const char b : bytes) all += stream.push({&b, 1});
    CHECK(all + stream.flush() == expected);
    CHECK(stream.flush().empty());
  }
}

TEST_CASE("random bytes: any split equals the whole") {
  Draws draws(1);
  for (int round = 0; round < 500; ++round) {
    std::string bytes;
    static constexpr unsigned char kLeads[] = {0x41, 0x80, 0xBF, 0xC3, 0xE2,
                                               0xED, 0xF0, 0xF4, 0xFF};
    for (uint32_t left = draws.below(12); left > 0; --left) {
      bytes += static_cast<char>(draws.below(3) != 0 ? kLeads[draws.below(9)] : draws.below(256));
    }
    Utf8Stream stream;
    std::string all;
    for (size_t pos = 0; pos < bytes.size();) {
      const size_t size = 1 + draws.below(3);
      all += stream.push(std::string_view(bytes).substr(pos, size));
      pos += size;
    }
    all += stream.flush();
    if (all != to_valid_utf8(bytes)) FAIL(escaped(bytes) << " gave " << escaped(all));
  }
  SUCCEED();
}

TEST_CASE("the byte alphabet is reversible") {
  std::string bytes;
  for (int b = 0; b < 256; ++b) bytes += static_cast<char>(b);
  CHECK(characters_to_bytes(bytes_to_characters(bytes)) == bytes);
  CHECK(bytes_to_characters(" a\n") == "Ġa\u010a");
  CHECK_FALSE(characters_to_bytes("a b"));  // a space is no character of it
  CHECK_FALSE(characters_to_bytes("日"));
}
