// The int4 grid: x^ = s*(q - z), integer zero point z in 0..15. The scale is rounded to fp16
// before zero point and codes are chosen.
#pragma once

#include <cstdint>

namespace pocket {

struct Int4 {
  // Pair (f16 s in the low half, f16 z in the high half) whose grid spans [low, high] and zero.
  // Returns false when s does not fit fp16.
  static bool pair_for(float low, float high, uint32_t* pair);
  static void encode(const float* values, int64_t count, uint32_t pair, uint8_t* codes);
  static float decode(uint8_t code, uint32_t pair);
  static void levels(uint32_t pair, float out[16]);  // of all codes
};

}  // namespace pocket
