// Bytes of tokens as they come -> whole UTF-8 characters for the terminal.
#pragma once

#include <string>
#include <string_view>

namespace pocket {

// The concatenation of all results equals the decoding of all bytes with errors="replace".
class Utf8Stream {
 public:
  // The characters that are complete now; a started one waits. Each maximal ill-formed part becomes
  // one U+FFFD.
  std::string push(std::string_view bytes);

  // At the end: a character left incomplete becomes U+FFFD. The stream can be used again.
  std::string flush();

 private:
  std::string pending_;  // at most 3 bytes: a proper prefix of a character
};

}  // namespace pocket
