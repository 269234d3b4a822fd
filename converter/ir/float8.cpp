#include "converter/ir/float8.h"

#include <cmath>
#include <limits>

#include "runtime/base/error.h"

namespace pocket::ir {

namespace {

struct Float8Format {
  int fraction_bits;
  int bias;
  bool infinities;  // e5m2: as in IEEE 754
  bool one_nan;     // "uz": no negative zero, whose code is the only NaN
};

Float8Format format_of(ElementType type) {
  switch (type) {
    case ElementType::f8e4m3fn:
      return {3, 7, false, false};
    case ElementType::f8e4m3fnuz:
      return {3, 8, false, true};
    case ElementType::f8e5m2:
      return {2, 15, true, false};
    case ElementType::f8e5m2fnuz:
      return {2, 16, false, true};
    default:
      throw Error(ExitCode::bad_input,
                  std::string(element_name(type)) + " is no 8-bit float; export the model again.");
  }
}

}  // namespace

float float8_value(ElementType type, uint8_t bits) {
  const Float8Format format = format_of(type);
  const int magnitude = bits & 0x7F;
  const int exponent = magnitude >> format.fraction_bits;
  const int fraction = magnitude & ((1 << format.fraction_bits) - 1);
  const int top_exponent = 0x7F >> format.fraction_bits;
  constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
  if (format.one_nan && bits == 0x80) return kNaN;
  const float sign = (bits & 0x80) != 0 ? -1.0f : 1.0f;
  if (format.infinities && exponent == top_exponent) {
    return fraction == 0 ? sign * std::numeric_limits<float>::infinity() : kNaN;
  }
  if (!format.infinities && !format.one_nan && magnitude == 0x7F) return kNaN;
  const float significand =
      static_cast<float>(fraction) / static_cast<float>(1 << format.fraction_bits) +
      (exponent > 0 ? 1.0f : 0.0f);
  return sign * std::ldexp(significand, (exponent > 0 ? exponent : 1) - format.bias);
}

uint8_t float8_bits(ElementType type, float value) {
  const Float8Format format = format_of(type);
  if (std::isnan(value)) return format.one_nan ? 0x80 : 0x7F;
  const uint8_t sign = std::signbit(value) ? 0x80 : 0;
  const float magnitude = std::fabs(value);
  // Values grow with their codes: the largest finite code that is not above the value, then its
  // neighbour when that is nearer.
  int low = 0, high = 0x7F;
  while (!std::isfinite(float8_value(type, static_cast<uint8_t>(high)))) --high;
  const int most = high;
  while (low < high) {
    const int middle = (low + high + 1) / 2;
    if (float8_value(type, static_cast<uint8_t>(middle)) <= magnitude)
      low = middle;
    else
      high = middle - 1;
  }
  if (low < most) {
    const float below = magnitude - float8_value(type, static_cast<uint8_t>(low));
    const float above = float8_value(type, static_cast<uint8_t>(low + 1)) - magnitude;
    if (above < below || (above == below && low % 2 != 0)) ++low;
  }
  if (low == 0 && format.one_nan) return 0;
  return static_cast<uint8_t>(low | sign);
}

}  // namespace pocket::ir
