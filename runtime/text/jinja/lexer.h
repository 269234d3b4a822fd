// The text of a template as tokens, by the rules of jinja2 with trim_blocks and lstrip_blocks.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace pocket::jinja {

struct Token {
  enum class Kind {
    data,  // text between the tags
    block_begin,
    block_end,
    variable_begin,
    variable_end,
    name,
    string,
    integer,
    real,
    op,
    end,
  };
  Kind kind;
  std::string text;  // data and string: the value; name and op: as written
  int64_t integer = 0;
  double real = 0;
  int line = 1;
};

// source must be valid UTF-8. Line ends become "\n", one at the very end is dropped. Error
// bad_input names the line of what cannot be read.
std::vector<Token> tokenize(std::string_view source);

// fail() with the line in front.
[[noreturn]] void fail_at(int line, const std::string& what);

}  // namespace pocket::jinja
