#include "converter/lower/integer_codes.h"

#include <algorithm>

namespace pocket {

namespace {

bool holds_codes(const WeightPart& part, int64_t columns, int64_t group) {
  const ir::QuantisedMatrix* q = part.data.quantised.get();
  if (q == nullptr || !q->present()) return false;
  const ir::ElementType type = q->codes.type;
  if (type != ir::ElementType::u4 && type != ir::ElementType::i4) return false;
  const int64_t block = part.transposed ? q->row_block : q->column_block;
  return block >= columns || block % group == 0;
}

}  // namespace

bool holds_integer_codes(const WeightSource& source, int64_t group) {
  return group > 0 && !source.parts().empty() &&
         std::all_of(source.parts().begin(), source.parts().end(), [&](const WeightPart& part) {
           return holds_codes(part, source.columns(), group);
         });
}

int64_t group_for(const WeightSource& source, int64_t asked) {
  constexpr int64_t kLeast = 16, kStep = 32;
  const int64_t group = std::min(asked, (source.columns() + kStep - 1) / kStep * kStep);
  const bool finer = asked == kStep && !holds_integer_codes(source, group) &&
                     holds_integer_codes(source, kLeast);
  return finer ? kLeast : group;
}

void read_integer_codes(const WeightSource& source, int64_t group, int64_t first, int64_t count,
                        uint8_t* codes, float* scales, float* zeros) {
  const int64_t columns = source.columns(), groups = (columns + group - 1) / group;
  int64_t start = 0;
  for (const WeightPart& part : source.parts()) {
    const int64_t from = std::max(first, start), to = std::min(first + count, start + part.rows);
    const ir::QuantisedMatrix& q = *part.data.quantised;
    // Signed codes lie 8 below ours, and so do their zero points.
    const float shift = q.codes.type == ir::ElementType::i4 ? 8.0f : 0.0f;
    for (int64_t row = from; row < to; ++row) {
      const int64_t n = part.first_row + row - start, out = row - first;
      for (int64_t k = 0; k < columns; ++k) {
        const int64_t i = part.transposed ? k : n, j = part.transposed ? n : k;
        codes[out * columns + k] = static_cast<uint8_t>(q.code(i, j) + shift);
        if (k % group != 0) continue;
        scales[out * groups + k / group] = q.scale(i, j) * part.factor;
        zeros[out * groups + k / group] = q.zero(i, j) + shift;
      }
    }
    start += part.rows;
  }
}

}  // namespace pocket
