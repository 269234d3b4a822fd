// Shared by the tests of runtime/text: Catch2 2 and 3, files, the random strings of the golden
// files.
#pragma once

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#include <catch2/catch.hpp>
#endif

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

// Catch2 2 has no SKIP: say why and leave the test case.
#ifdef SKIP
#define POCKET_SKIP(message) SKIP(message)
#else
#define POCKET_SKIP(message)        \
  do {                              \
    WARN("skipped: " << (message)); \
    SUCCEED("skipped");             \
    return;                         \
  } while (false)
#endif

namespace pocket::test {

// Sanitizers make everything 20 times slower: they see a share of the long lists, an optimised
// build sees all.
#if defined(__SANITIZE_ADDRESS__)
inline constexpr size_t kStride = 16;
#else
inline constexpr size_t kStride = 1;
#endif

inline std::filesystem::path source_dir() { return POCKET_SOURCE_DIR; }
inline std::filesystem::path golden_dir() { return source_dir() / "test/golden/tokenizer"; }

inline std::filesystem::path shared_data() {
  const char* from_environment = std::getenv("POCKET_SHARED_DATA");
  return from_environment != nullptr ? from_environment : POCKET_SHARED_DATA;
}

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  INFO("file " << path);
  REQUIRE(in.good());
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

// splitmix64, as in scripts/make_tokenizer_golden.py
class Draws {
 public:
  explicit Draws(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    state_ += 0x9E3779B97F4A7C15;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
  }
  uint32_t below(uint64_t n) { return static_cast<uint32_t>(next() % n); }

 private:
  uint64_t state_;
};

// Printable form of any text for a failure message.
inline std::string escaped(std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text) {
    const auto b = static_cast<unsigned char>(c);
    if (b >= 0x20 && b < 0x7F && b != '"' && b != '\\') {
      out += c;
    } else {
      out += std::string("\\x") + kHex[b >> 4] + kHex[b & 15];
    }
  }
  return out + "\"";
}

}  // namespace pocket::test
