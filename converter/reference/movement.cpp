// Operators that move, repeat or create elements without computing on them.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "converter/reference/broadcast.h"
#include "converter/reference/operators.h"
#include "converter/reference/slice_range.h"

namespace pocket::reference {

namespace {

using Outputs = std::vector<HostTensor>;

Outputs one(HostTensor tensor) {
  Outputs out;
  out.push_back(std::move(tensor));
  return out;
}

// out[k] = x[offset] for a walk over `shape` with the given strides into x, from `base`.
HostTensor strided(const HostTensor& x, Shape shape, const Shape& strides, int64_t base = 0) {
  HostTensor y = HostTensor::make(x.type, std::move(shape));
  for_each_element(y.shape, std::array{strides}, [&](int64_t k, const auto& in) {
    if (y.is_integer())
      y.i[at(k)] = x.i[at(base + in[0])];
    else
      y.f[at(k)] = x.f[at(base + in[0])];
  });
  return y;
}

Outputs reshaped(const Call& call, Shape shape) {
  HostTensor y = call.input(0);
  y.shape = std::move(shape);
  if (y.elements() != static_cast<int64_t>(y.is_integer() ? y.i.size() : y.f.size())) {
    call.fail("cannot give " + std::to_string(call.input(0).elements()) + " elements a shape of " +
              std::to_string(y.elements()));
  }
  return one(std::move(y));
}

Outputs reshape(const Call& call) {
  const HostTensor& x = call.input(0);
  Shape shape = call.integers(1, "shape");
  const bool keep_zero = call.node.integer("allowzero", 0) != 0;
  int64_t known = 1;
  int64_t free_axis = -1;
  for (size_t d = 0; d < shape.size(); ++d) {
    if (shape[d] == 0 && !keep_zero) {
      if (d >= x.shape.size()) call.fail("copies a dimension that its input does not have");
      shape[d] = x.shape[d];
    }
    if (shape[d] == -1) {
      if (free_axis >= 0) call.fail("has two free dimensions");
      free_axis = static_cast<int64_t>(d);
    } else {
      known = element_count({known, shape[d]});
    }
  }
  if (free_axis >= 0) {
    if (known == 0 || x.elements() % known != 0) {
      call.fail("cannot split " + std::to_string(x.elements()) + " elements by " +
                std::to_string(known));
    }
    shape[at(free_axis)] = x.elements() / known;
  }
  return reshaped(call, std::move(shape));
}

Outputs flatten(const Call& call) {
  const HostTensor& x = call.input(0);
  int64_t axis = call.node.integer("axis", 1);
  if (axis != x.rank()) axis = normal_axis(call, axis, x.rank());
  const Shape head(x.shape.begin(), x.shape.begin() + axis),
      tail(x.shape.begin() + axis, x.shape.end());
  return reshaped(call, {element_count(head), element_count(tail)});
}

Outputs squeeze(const Call& call) {
  const HostTensor& x = call.input(0);
  std::vector<bool> drop(x.shape.size(), false);
  std::vector<int64_t> axes = call.integers(1, "axes");
  if (!call.has(1) && !call.node.attributes.contains("axes")) {
    for (size_t d = 0; d < x.shape.size(); ++d) drop[d] = x.shape[d] == 1;
  }
  for (const int64_t axis : axes) {
    const int64_t d = normal_axis(call, axis, x.rank());
    if (x.shape[at(d)] != 1) {
      call.fail("squeezes a dimension of " + std::to_string(x.shape[at(d)]));
    }
    drop[at(d)] = true;
  }
  Shape shape;
  for (size_t d = 0; d < x.shape.size(); ++d) {
    if (!drop[d]) shape.push_back(x.shape[d]);
  }
  return reshaped(call, std::move(shape));
}

Outputs unsqueeze(const Call& call) {
  const HostTensor& x = call.input(0);
  const std::vector<int64_t> axes = call.integers(1, "axes");
  const int64_t rank = x.rank() + static_cast<int64_t>(axes.size());
  std::vector<bool> fresh(at(rank), false);
  for (const int64_t axis : axes) {
    const int64_t d = normal_axis(call, axis, rank);
    if (fresh[at(d)]) call.fail("inserts one dimension twice");
    fresh[at(d)] = true;
  }
  Shape shape;
  auto next = x.shape.begin();
  for (const bool inserted : fresh) shape.push_back(inserted ? 1 : *next++);
  return reshaped(call, std::move(shape));
}

Outputs transpose(const Call& call) {
  const HostTensor& x = call.input(0);
  std::vector<int64_t> order(x.shape.size());
  std::iota(order.rbegin(), order.rend(), 0);
  order = call.node.integers("perm", order);
  if (order.size() != x.shape.size()) call.fail("permutes another number of dimensions");
  const Shape own = row_major_strides(x.shape);
  Shape shape, strides;
  std::vector<bool> seen(order.size(), false);
  for (const int64_t source : order) {
    const int64_t d = normal_axis(call, source, x.rank());
    if (seen[at(d)]) call.fail("permutes one dimension twice");
    seen[at(d)] = true;
    shape.push_back(x.shape[at(d)]);
    strides.push_back(own[at(d)]);
  }
  return one(strided(x, std::move(shape), strides));
}

Outputs expand(const Call& call) {
  const HostTensor& x = call.input(0);
  const Shape shape = broadcast_shapes(call, {x.shape, call.integers(1, "shape")});
  return one(strided(x, shape, broadcast_strides(x.shape, shape)));
}

Outputs tile(const Call& call) {
  HostTensor x = call.input(0);
  const std::vector<int64_t> repeats = call.integers(1, "repeats");
  if (repeats.size() != x.shape.size()) call.fail("repeats another number of dimensions");
  Shape split, strides, shape;  // every dimension as [repeat (stride 0), size]
  const Shape own = row_major_strides(x.shape);
  for (size_t d = 0; d < repeats.size(); ++d) {
    split.insert(split.end(), {repeats[d], x.shape[d]});
    strides.insert(strides.end(), {0, own[d]});
    shape.push_back(element_count({repeats[d], x.shape[d]}));
  }
  HostTensor y = strided(x, split, strides);
  y.shape = std::move(shape);
  return one(std::move(y));
}

Outputs concat(const Call& call) {
  const HostTensor& first = call.input(0);
  const int64_t axis = normal_axis(call, call.node.integer("axis", 0), first.rank());
  Shape shape = first.shape;
  shape[at(axis)] = 0;
  for (size_t k = 0; k < call.inputs.size(); ++k) {
    const HostTensor& x = call.input(k);
    Shape rest = x.shape;
    if (x.rank() != first.rank() || x.is_integer() != first.is_integer()) {
      call.fail("joins tensors of different rank or type");
    }
    rest[at(axis)] = shape[at(axis)];
    if (rest != shape) call.fail("joins tensors whose other dimensions differ");
    shape[at(axis)] += x.shape[at(axis)];
  }
  HostTensor y = HostTensor::make(first.type, shape);
  const int64_t outer = element_count({shape.begin(), shape.begin() + axis});
  const int64_t row = element_count({shape.begin() + axis, shape.end()});
  int64_t column = 0;
  for (const HostTensor* x : call.inputs) {
    const int64_t width = element_count({x->shape.begin() + axis, x->shape.end()});
    for (int64_t o = 0; o < outer; ++o) {
      if (y.is_integer()) {
        std::copy_n(x->i.begin() + o * width, width, y.i.begin() + o * row + column);
      } else {
        std::copy_n(x->f.begin() + o * width, width, y.f.begin() + o * row + column);
      }
    }
    column += width;
  }
  return one(std::move(y));
}

Outputs split(const Call& call) {
  const HostTensor& x = call.input(0);
  const int64_t axis = normal_axis(call, call.node.integer("axis", 0), x.rank());
  const int64_t size = x.shape[at(axis)];
  const auto parts = static_cast<int64_t>(call.node.outputs.size());
  std::vector<int64_t> sizes = call.integers(1, "split");
  if (sizes.empty()) {  // equal parts, the last one may be smaller
    const int64_t each = (size + parts - 1) / parts;
    for (int64_t k = 0; k < parts; ++k) {
      sizes.push_back(std::clamp<int64_t>(size - k * each, 0, each));
    }
  }
  for (const int64_t part : sizes) {
    if (part < 0 || part > size) call.fail("has a part of " + std::to_string(part));
  }
  if (static_cast<int64_t>(sizes.size()) != parts ||
      element_count({std::accumulate(sizes.begin(), sizes.end(), int64_t{0})}) != size) {
    call.fail("splits " + std::to_string(size) + " into parts that do not add up");
  }
  const Shape own = row_major_strides(x.shape);
  Outputs out;
  int64_t start = 0;
  for (const int64_t part : sizes) {
    Shape shape = x.shape;
    shape[at(axis)] = part;
    out.push_back(strided(x, std::move(shape), own, start * own[at(axis)]));
    start += part;
  }
  return out;
}

Outputs slice(const Call& call) {
  const HostTensor& x = call.input(0);
  const std::vector<int64_t> starts = call.integers(1, "starts"), ends = call.integers(2, "ends");
  std::vector<int64_t> axes(starts.size());
  std::iota(axes.begin(), axes.end(), 0);
  axes = call.integers(3, "axes", axes);
  const std::vector<int64_t> steps =
      call.integers(4, "steps", std::vector<int64_t>(starts.size(), 1));
  if (ends.size() != starts.size() || axes.size() != starts.size() ||
      steps.size() != starts.size()) {
    call.fail("has lists of different lengths");
  }
  Shape shape = x.shape, strides = row_major_strides(x.shape);
  const Shape own = strides;
  int64_t base = 0;
  for (size_t k = 0; k < starts.size(); ++k) {
    const auto d = at(normal_axis(call, axes[k], x.rank()));
    if (steps[k] == 0) call.fail("has a step of 0");
    const SliceRange range = slice_range(starts[k], ends[k], steps[k], x.shape[d]);
    shape[d] = range.count;
    strides[d] = range.count > 1 ? own[d] * steps[k] : 0;  // a lone step may be any number
    base += range.first * own[d];
  }
  return one(strided(x, std::move(shape), strides, base));
}

Outputs shape_of(const Call& call) {
  const Shape& shape = call.input(0).shape;
  const auto rank = static_cast<int64_t>(shape.size());
  const auto bound = [&](int64_t x) { return std::clamp<int64_t>(x < 0 ? x + rank : x, 0, rank); };
  const int64_t start = bound(call.node.integer("start", 0));
  const int64_t end = std::max(start, bound(call.node.integer("end", rank)));
  return one(HostTensor::integers({end - start}, {shape.begin() + start, shape.begin() + end}));
}

Outputs size_of(const Call& call) {
  return one(HostTensor::integers({}, {call.input(0).elements()}));
}

Outputs constant_of_shape(const Call& call) {
  HostTensor value = HostTensor::floats({1}, {0.0f});
  const auto it = call.node.attributes.find("value");
  if (it != call.node.attributes.end()) {
    const auto* data = std::get_if<ir::TensorData>(&it->second);
    if (data == nullptr) call.fail("has a value that is not a tensor");
    value = HostTensor::from(*data);
  }
  if (value.elements() != 1) call.fail("has a value of more than one element");
  HostTensor y = HostTensor::make(value.type, call.integers(0, "shape"));
  if (y.is_integer())
    y.i.assign(y.i.size(), value.i[0]);
  else
    y.f.assign(y.f.size(), value.f[0]);
  return one(std::move(y));
}

Outputs constant(const Call& call) {
  for (const auto& [key, attribute] : call.node.attributes) {
    if (const auto* data = std::get_if<ir::TensorData>(&attribute)) {
      return one(HostTensor::from(*data));
    }
    if (const auto* x = std::get_if<int64_t>(&attribute))
      return one(HostTensor::integers({}, {*x}));
    if (const auto* x = std::get_if<float>(&attribute)) return one(HostTensor::floats({}, {*x}));
    if (const auto* x = std::get_if<std::vector<int64_t>>(&attribute)) {
      return one(HostTensor::integers({static_cast<int64_t>(x->size())}, *x));
    }
    if (const auto* x = std::get_if<std::vector<float>>(&attribute)) {
      return one(HostTensor::floats({static_cast<int64_t>(x->size())}, *x));
    }
  }
  call.fail("has no value of a supported kind");
}

constexpr double kMostRange = 4294967296.0;  // more is refused by HostTensor::make

Outputs range(const Call& call) {
  const HostTensor &start = call.input(0), &limit = call.input(1), &delta = call.input(2);
  for (const HostTensor* x : call.inputs) {
    if (x->elements() != 1 || x->is_integer() != start.is_integer()) {
      call.fail("needs three scalars of one type");
    }
  }
  if (start.is_integer()) {
    const int64_t step = delta.i[0];
    if (step == 0) call.fail("has a step of 0");
    // In double-width floats: the difference of two int64 may not fit an int64.
    const double exact = (static_cast<double>(limit.i[0]) - static_cast<double>(start.i[0])) /
                         static_cast<double>(step);
    const double count = std::max(0.0, std::ceil(exact));
    HostTensor y =
        HostTensor::make(start.type, {static_cast<int64_t>(std::min(count, kMostRange))});
    for (size_t k = 0; k < y.i.size(); ++k)
      y.i[k] =
          static_cast<int64_t>(static_cast<uint64_t>(start.i[0]) + k * static_cast<uint64_t>(step));
    return one(std::move(y));
  }
  if (delta.f[0] == 0.0f) call.fail("has a step of 0");
  const double count =
      std::ceil((static_cast<double>(limit.f[0]) - start.f[0]) / static_cast<double>(delta.f[0]));
  HostTensor y = HostTensor::make(
      start.type,
      {std::isnan(count) ? 0 : static_cast<int64_t>(std::clamp(count, 0.0, kMostRange))});
  for (size_t k = 0; k < y.f.size(); ++k) {
    y.f[k] = static_cast<float>(start.f[0] + static_cast<double>(k) * delta.f[0]);
  }
  return one(std::move(y));
}

Outputs trilu(const Call& call) {
  HostTensor y = call.input(0);
  if (y.rank() < 2) call.fail("needs a matrix");
  const bool upper = call.node.integer("upper", 1) != 0;
  const std::vector<int64_t> diagonal = call.integers(1, "k", {0});
  if (diagonal.size() != 1) call.fail("needs one diagonal");
  const int64_t columns = y.shape.back(), rows = y.shape[y.shape.size() - 2];
  const int64_t k = std::clamp(diagonal[0], -rows - 1, columns + 1);
  for (int64_t flat = 0; flat < y.elements(); ++flat) {
    const int64_t column = flat % columns, row = flat / columns % rows;
    if (upper ? column - row >= k : column - row <= k) continue;
    if (y.is_integer())
      y.i[at(flat)] = 0;
    else
      y.f[at(flat)] = 0.0f;
  }
  return one(std::move(y));
}

}  // namespace

void register_movement(Registry& r) {
  r.add("", "Reshape", reshape);
  r.add("", "Flatten", flatten);
  r.add("", "Squeeze", squeeze);
  r.add("", "Unsqueeze", unsqueeze);
  r.add("", "Transpose", transpose);
  r.add("", "Expand", expand);
  r.add("", "Tile", tile);
  r.add("", "Concat", concat);
  r.add("", "Split", split);
  r.add("", "Slice", slice);
  r.add("", "Shape", shape_of);
  r.add("", "Size", size_of);
  r.add("", "ConstantOfShape", constant_of_shape);
  r.add("", "Constant", constant);
  r.add("", "Range", range);
  r.add("", "Trilu", trilu);
}

}  // namespace pocket::reference
