// Bounds the parser's own recursion.
#pragma once

#include "runtime/text/jinja/parser.h"

namespace pocket::jinja {

class Parser::Level {
 public:
  explicit Level(Parser& parser) : parser_(parser) {
    if (++parser_.level_ > kMaxNesting) {
      --parser_.level_;
      parser_.refuse("it nests deeper than " + std::to_string(kMaxNesting));
    }
  }
  ~Level() { --parser_.level_; }
  Level(const Level&) = delete;
  Level& operator=(const Level&) = delete;

 private:
  Parser& parser_;
};

}  // namespace pocket::jinja
