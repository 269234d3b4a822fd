// The M0E4 grid (papers.md 1.2, exponent constant 0): x^ = S*y(q) + B with y(q) = 1 + q/16, the
// value of the fp16 bits 0x3C00 | q << 6. S and B are rounded to fp16 before a code is chosen.
#pragma once

#include <cstdint>

namespace pocket {

struct M0e4 {
  // Pair (f16 S in the low half, f16 B in the high half) whose grid spans [low, high].
  // Returns false when S or B does not fit fp16.
  static bool pair_for(float low, float high, uint32_t* pair);
  // Nearest codes 0..15 on the grid of `pair`.
  static void encode(const float* values, int64_t count, uint32_t pair, uint8_t* codes);
  static float decode(uint8_t code, uint32_t pair);
  static void levels(uint32_t pair, float out[16]);  // of all codes
};

// A foreign integer quantisation x^ = s*(q - z) on this grid, with unchanged codes: S = 16 s,
// B = -(16 + z) s. Exact before S and B are rounded.
struct ScaleBias {
  double scale = 0.0, bias = 0.0;
};
ScaleBias m0e4_from_integer(double s, double z);

}  // namespace pocket
