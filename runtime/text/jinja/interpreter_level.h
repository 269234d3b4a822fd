// Bounds the interpreter's own recursion.
#pragma once

#include "runtime/text/jinja/interpreter.h"

namespace pocket::jinja {

class Interpreter::Level {
 public:
  explicit Level(Interpreter& interpreter) : interpreter_(interpreter) {
    if (++interpreter_.level_ > kMaxRecursion) {
      --interpreter_.level_;
      fail("nests calls deeper than " + std::to_string(kMaxRecursion));
    }
  }
  ~Level() { --interpreter_.level_; }
  Level(const Level&) = delete;
  Level& operator=(const Level&) = delete;

 private:
  Interpreter& interpreter_;
};

}  // namespace pocket::jinja
