// The functions of generic steps on single numbers: double for f32, int64_t for i32.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "runtime/program/generic.h"

namespace pocket::host_reference {

// A float as T; integers cut the fraction off, as a cast does.
template <typename T>
T convert(double value) {
  if constexpr (std::is_same_v<T, double>) {
    return value;
  } else {
    if (std::isnan(value)) return 0;
    return static_cast<int64_t>(std::clamp(value, -2147483648.0, 2147483647.0));
  }
}

inline int32_t convert_to_i32(double value) {
  return static_cast<int32_t>(convert<int64_t>(value));
}
inline int32_t convert_to_i32(int64_t value) {
  return static_cast<int32_t>(static_cast<uint32_t>(static_cast<uint64_t>(value)));
}

template <typename T>
T apply_unary(GenericFunction function, T x) {
  using F = GenericFunction;
  const auto v = static_cast<double>(x);
  switch (function) {
    case F::copy:
      return x;
    case F::neg:
      return -x;
    case F::abs:
      return x < 0 ? -x : x;
    case F::relu:
      return x < 0 ? T{0} : x;
    case F::sign:
      return static_cast<T>((x > 0) - (x < 0));
    case F::is_nan:
      return static_cast<T>(std::isnan(v));
    case F::is_inf:
      return static_cast<T>(std::isinf(v));
    case F::logical_not:
      return static_cast<T>(x == 0);
    case F::to_bool:
      return static_cast<T>(x != 0);
    case F::exp:
      return convert<T>(std::exp(v));
    case F::log:
      return convert<T>(std::log(v));
    case F::sqrt:
      return convert<T>(std::sqrt(v));
    case F::reciprocal:
      return convert<T>(1.0 / v);
    case F::tanh:
      return convert<T>(std::tanh(v));
    case F::sigmoid:
      return convert<T>(1.0 / (1.0 + std::exp(-v)));
    case F::erf:
      return convert<T>(std::erf(v));
    case F::sin:
      return convert<T>(std::sin(v));
    case F::cos:
      return convert<T>(std::cos(v));
    case F::floor:
      return convert<T>(std::floor(v));
    case F::ceil:
      return convert<T>(std::ceil(v));
    case F::round:
      return convert<T>(std::nearbyint(v));
    case F::softplus:
      return convert<T>(std::max(v, 0.0) + std::log1p(std::exp(-std::abs(v))));
    default:
      return x;
  }
}

// Integers wrap at 32 bits when they are stored; a division by zero gives zero.
template <typename T>
T apply_binary(GenericFunction function, T a, T b) {
  using F = GenericFunction;
  constexpr bool kInteger = std::is_same_v<T, int64_t>;
  switch (function) {
    case F::add:
      return a + b;
    case F::sub:
      return a - b;
    case F::mul:
      return a * b;
    case F::div:
      if constexpr (kInteger) return b == 0 ? 0 : a / b;
      return a / b;
    case F::pow:
      if constexpr (kInteger) return convert<T>(std::pow(static_cast<double>(a), b));
      return static_cast<T>(std::pow(a, b));
    case F::mod:
      if constexpr (kInteger) return b == 0 ? 0 : ((a % b) + b) % b;
      return convert<T>(static_cast<double>(a) -
                        static_cast<double>(b) *
                            std::floor(static_cast<double>(a) / static_cast<double>(b)));
    case F::fmod:
      if constexpr (kInteger) return b == 0 ? 0 : a % b;
      return convert<T>(std::fmod(static_cast<double>(a), static_cast<double>(b)));
    case F::min:
      return std::min(a, b);
    case F::max:
      return std::max(a, b);
    case F::equal:
      return static_cast<T>(a == b);
    case F::less:
      return static_cast<T>(a < b);
    case F::less_equal:
      return static_cast<T>(a <= b);
    case F::logical_and:
      return static_cast<T>(a != 0 && b != 0);
    case F::logical_or:
      return static_cast<T>(a != 0 || b != 0);
    case F::logical_xor:
      return static_cast<T>((a != 0) != (b != 0));
    case F::keep:
      return b >= 0 ? a : T{0};
    default:
      return a;
  }
}

template <typename T>
T apply_ternary(GenericFunction function, T a, T b, T c) {
  if (function == GenericFunction::where) return a != 0 ? b : c;
  return std::min(std::max(a, b), c);  // clip
}

// One result over the inner dimensions.
template <typename T>
class Reduction {
 public:
  explicit Reduction(GenericFunction function) : function_(function) {
    using F = GenericFunction;
    constexpr T kLargest = std::is_same_v<T, int64_t> ? T{std::numeric_limits<int32_t>::max()}
                                                      : std::numeric_limits<T>::infinity();
    if (function == F::reduce_prod) value_ = 1;
    if (function == F::reduce_max || function == F::reduce_argmax) value_ = -kLargest;
    if (function == F::reduce_min || function == F::reduce_argmin) value_ = kLargest;
  }

  void add(T x, int64_t number) {
    using F = GenericFunction;
    switch (function_) {
      case F::reduce_prod:
        value_ *= x;
        break;
      case F::reduce_max:
        value_ = std::max(value_, x);
        break;
      case F::reduce_min:
        value_ = std::min(value_, x);
        break;
      case F::reduce_argmax:
      case F::reduce_argmin:
        if (function_ == F::reduce_argmax ? x > value_ : x < value_) {
          value_ = x;
          best_ = number;
        }
        break;
      case F::reduce_l1:
        value_ += x < 0 ? -x : x;
        break;
      case F::reduce_l2:
      case F::reduce_sum_square:
        value_ += x * x;
        break;
      default:
        value_ += x;
    }
  }

  T result(int64_t count) const {
    using F = GenericFunction;
    if (function_ == F::reduce_argmax || function_ == F::reduce_argmin) {
      return static_cast<T>(best_);
    }
    if (function_ == F::reduce_mean) {
      return convert<T>(static_cast<double>(value_) / static_cast<double>(count));
    }
    if (function_ == F::reduce_l2) return convert<T>(std::sqrt(static_cast<double>(value_)));
    return value_;
  }

 private:
  GenericFunction function_;
  T value_ = 0;
  int64_t best_ = 0;
};

}  // namespace pocket::host_reference
