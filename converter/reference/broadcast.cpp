#include "converter/reference/broadcast.h"

#include <algorithm>

namespace pocket::reference {

Shape broadcast_shapes(const Call& call, const std::vector<Shape>& shapes) {
  size_t rank = 0;
  for (const Shape& shape : shapes) rank = std::max(rank, shape.size());
  Shape out(rank, 1);
  for (const Shape& shape : shapes) {
    for (size_t d = 0; d < shape.size(); ++d) {
      int64_t& dim = out[rank - shape.size() + d];
      if (shape[d] == 1 || shape[d] == dim) continue;
      if (dim != 1) {
        call.fail("cannot broadcast dimension " + std::to_string(shape[d]) + " against " +
                  std::to_string(dim));
      }
      dim = shape[d];
    }
  }
  return out;
}

Shape row_major_strides(const Shape& shape) {
  Shape strides(shape.size());
  int64_t step = 1;
  for (size_t d = shape.size(); d-- > 0;) {
    strides[d] = step;
    step *= std::max<int64_t>(shape[d], 1);
  }
  return strides;
}

Shape broadcast_strides(const Shape& shape, const Shape& out) {
  const Shape own = row_major_strides(shape);
  Shape strides(out.size(), 0);
  const size_t lead = out.size() - shape.size();
  for (size_t d = 0; d < shape.size(); ++d) strides[lead + d] = shape[d] == 1 ? 0 : own[d];
  return strides;
}

int64_t normal_axis(const Call& call, int64_t axis, int64_t rank) {
  if (axis < -rank || axis >= rank) {
    call.fail("axis " + std::to_string(axis) + " lies outside a tensor of rank " +
              std::to_string(rank));
  }
  return axis < 0 ? axis + rank : axis;
}

}  // namespace pocket::reference
