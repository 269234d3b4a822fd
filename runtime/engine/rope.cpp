#include "runtime/engine/rope.h"

#include <cmath>

namespace pocket {

std::vector<float> compute_rope_table(const RopeTable& table, int64_t context) {
  const size_t n = table.inv_freq.size();
  std::vector<float> values(static_cast<size_t>(context) * 2 * n);
  for (size_t p = 0; p < static_cast<size_t>(context); ++p) {
    float* row = values.data() + p * 2 * n;
    for (size_t i = 0; i < n; ++i) {
      const double angle = static_cast<double>(p) * table.inv_freq[i];
      row[i] = static_cast<float>(std::cos(angle) * table.scale);
      row[n + i] = static_cast<float>(std::sin(angle) * table.scale);
    }
  }
  return values;
}

uint64_t rope_table_bytes(const RopeTable& table, int64_t context) {
  return static_cast<uint64_t>(context) * 2 * table.inv_freq.size() * sizeof(float);
}

}  // namespace pocket
