// Rotation of heads by tables of cosines and sines, for the operators that rotate.
#pragma once

#include "converter/reference/registry.h"

namespace pocket::reference {

struct RotaryTables {
  const float* cosines = nullptr;  // [rows, pairs]
  const float* sines = nullptr;
  int64_t rows = 0, pairs = 0;
  bool interleaved = false;  // pairs are neighbours instead of the two halves
};

RotaryTables rotary_tables(const Call&, size_t cosines, size_t sines, bool interleaved);

// The first 2 * pairs elements of one head; fails outside the tables.
void rotate_head(const Call&, float* head, int64_t head_dim, const RotaryTables&,
                 int64_t table_row);

}  // namespace pocket::reference
