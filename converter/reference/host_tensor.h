// A tensor of the reference executor. Floats of every width are held as float: a half-precision
// graph is computed in float, so that the oracle is the mathematics and not one rounding of it.
// Integers and booleans (0 or 1) are held as int64, wrapped to their type where ONNX wraps.
#pragma once

#include <cstdint>
#include <vector>

#include "converter/ir/graph.h"

namespace pocket::reference {

using ir::ElementType;
using Shape = std::vector<int64_t>;

inline size_t at(int64_t k) { return static_cast<size_t>(k); }  // an index

struct HostTensor {
  ElementType type = ElementType::f32;
  Shape shape;             // row-major
  std::vector<float> f;    // the contents of a float type
  std::vector<int64_t> i;  // the contents of an integer or boolean type

  bool is_integer() const { return ir::is_integer_type(type); }
  int64_t elements() const;
  int64_t rank() const { return static_cast<int64_t>(shape.size()); }

  // Zeros. Throws Error(out_of_memory) above 2^31 elements.
  static HostTensor make(ElementType, Shape);
  static HostTensor floats(Shape, std::vector<float>);
  static HostTensor integers(Shape, std::vector<int64_t>);
  static HostTensor from(const ir::TensorData&);

  // In the tensor's own element type; f16 and bf16 are rounded to nearest even.
  ir::TensorData to_data() const;
};

// Product of the dimensions; Error(out_of_memory) above 2^31, Error(bad_input) when one is
// negative.
int64_t element_count(const Shape&);

// An integer wrapped to the range of an integer type; boolean becomes 0 or 1.
int64_t wrap_integer(ElementType, int64_t);

}  // namespace pocket::reference
