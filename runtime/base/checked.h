// Integer arithmetic on numbers from files: it is refused, never wrapped.
#pragma once

#include <cstdint>
#include <string>
#include <type_traits>

#include "runtime/base/error.h"

namespace pocket {

[[noreturn]] inline void throw_overflow(const char* what) {
  throw Error(ExitCode::bad_input,
              std::string("Integer overflow in ") + what +
                  ": the sizes in the file are too large for 64 bits, use a smaller model.");
}

template <typename T>
T checked_add(T a, T b, const char* what = "an addition") {
  static_assert(std::is_integral_v<T>);
  T result;
  if (__builtin_add_overflow(a, b, &result)) throw_overflow(what);
  return result;
}

template <typename T>
T checked_sub(T a, T b, const char* what = "a subtraction") {
  static_assert(std::is_integral_v<T>);
  T result;
  if (__builtin_sub_overflow(a, b, &result)) throw_overflow(what);
  return result;
}

template <typename T>
T checked_mul(T a, T b, const char* what = "a product") {
  static_assert(std::is_integral_v<T>);
  T result;
  if (__builtin_mul_overflow(a, b, &result)) throw_overflow(what);
  return result;
}

// Smallest multiple of `step` (> 0) that is >= value (>= 0).
template <typename T>
T checked_round_up(T value, T step, const char* what = "an alignment") {
  static_assert(std::is_integral_v<T>);
  const T rest = value % step;
  return rest == 0 ? value : checked_add<T>(value, step - rest, what);
}

}  // namespace pocket
