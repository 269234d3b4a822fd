// Operators that read or write by index.
#include <algorithm>

#include "converter/reference/broadcast.h"
#include "converter/reference/operators.h"

namespace pocket::reference {

namespace {

using Outputs = std::vector<HostTensor>;

void copy(const HostTensor& from, int64_t source, HostTensor& to, int64_t target, int64_t count) {
  if (to.is_integer())
    std::copy_n(from.i.begin() + source, count, to.i.begin() + target);
  else
    std::copy_n(from.f.begin() + source, count, to.f.begin() + target);
}

int64_t checked_index(const Call& call, int64_t index, int64_t size) {
  if (index < -size || index >= size) {
    call.fail("reads index " + std::to_string(index) + " of a dimension of " +
              std::to_string(size));
  }
  return index < 0 ? index + size : index;
}

const HostTensor& indices_of(const Call& call) {
  const HostTensor& indices = call.input(1);
  if (!indices.is_integer()) call.fail("needs integer indices");
  return indices;
}

Outputs gather(const Call& call) {
  const HostTensor &x = call.input(0), &indices = indices_of(call);
  const auto axis = at(normal_axis(call, call.node.integer("axis", 0), x.rank()));
  const Shape head(x.shape.begin(), x.shape.begin() + static_cast<int64_t>(axis));
  const Shape tail(x.shape.begin() + static_cast<int64_t>(axis) + 1, x.shape.end());
  Shape shape = head;
  shape.insert(shape.end(), indices.shape.begin(), indices.shape.end());
  shape.insert(shape.end(), tail.begin(), tail.end());
  HostTensor y = HostTensor::make(x.type, shape);
  const int64_t outer = element_count(head), inner = element_count(tail);
  int64_t target = 0;
  for (int64_t o = 0; o < outer; ++o) {
    for (const int64_t index : indices.i) {
      const int64_t k = checked_index(call, index, x.shape[axis]);
      copy(x, (o * x.shape[axis] + k) * inner, y, target, inner);
      target += inner;
    }
  }
  return {std::move(y)};
}

// Visits every element of `indices` with its flat number and the offset in x that it names: the
// element's own position, with the coordinate along the axis replaced.
template <typename F>
void for_each_indexed(const Call& call, const HostTensor& x, const HostTensor& indices, F f) {
  const int64_t axis = normal_axis(call, call.node.integer("axis", 0), x.rank());
  if (indices.rank() != x.rank()) call.fail("needs indices of its input's rank");
  Shape strides = row_major_strides(x.shape);
  for (size_t d = 0; d < x.shape.size(); ++d) {
    if (static_cast<int64_t>(d) != axis && indices.shape[d] > x.shape[d]) {
      call.fail("has more indices than its input has elements");
    }
  }
  const int64_t step = strides[at(axis)];
  strides[at(axis)] = 0;
  for_each_element(indices.shape, std::array{strides}, [&](int64_t k, const auto& in) {
    f(k, in[0] + step * checked_index(call, indices.i[at(k)], x.shape[at(axis)]));
  });
}

Outputs gather_elements(const Call& call) {
  const HostTensor &x = call.input(0), &indices = indices_of(call);
  HostTensor y = HostTensor::make(x.type, indices.shape);
  for_each_indexed(call, x, indices, [&](int64_t k, int64_t at_x) { copy(x, at_x, y, k, 1); });
  return {std::move(y)};
}

enum class Reduction { none, add, mul, max, min };

Reduction reduction_of(const Call& call) {
  const std::string name = call.node.text("reduction", "none");
  if (name == "none") return Reduction::none;
  if (name == "add") return Reduction::add;
  if (name == "mul") return Reduction::mul;
  if (name == "max") return Reduction::max;
  if (name == "min") return Reduction::min;
  call.fail("has the unknown reduction \"" + name + "\"");
}

template <typename T>
T reduced(Reduction reduction, T old, T update) {
  switch (reduction) {
    case Reduction::add:
      if constexpr (std::is_integral_v<T>) {
        return static_cast<T>(static_cast<uint64_t>(old) + static_cast<uint64_t>(update));
      } else {
        return old + update;
      }
    case Reduction::mul:
      if constexpr (std::is_integral_v<T>) {
        return static_cast<T>(static_cast<uint64_t>(old) * static_cast<uint64_t>(update));
      } else {
        return old * update;
      }
    case Reduction::max:
      return std::max(old, update);
    case Reduction::min:
      return std::min(old, update);
    case Reduction::none:
      break;
  }
  return update;
}

void write(Reduction reduction, const HostTensor& updates, int64_t source, HostTensor& y,
           int64_t target, int64_t count) {
  for (int64_t k = 0; k < count; ++k) {
    if (y.is_integer()) {
      int64_t& slot = y.i[at(target + k)];
      slot = wrap_integer(y.type, reduced(reduction, slot, updates.i[at(source + k)]));
    } else {
      float& slot = y.f[at(target + k)];
      slot = reduced(reduction, slot, updates.f[at(source + k)]);
    }
  }
}

Outputs scatter_elements(const Call& call) {
  HostTensor y = call.input(0);
  const HostTensor &indices = indices_of(call), &updates = call.input(2);
  if (updates.shape != indices.shape || updates.is_integer() != y.is_integer()) {
    call.fail("needs one update of its input's type for each index");
  }
  const Reduction reduction = reduction_of(call);
  for_each_indexed(call, y, indices,
                   [&](int64_t k, int64_t at_y) { write(reduction, updates, k, y, at_y, 1); });
  return {std::move(y)};
}

// The last dimension of `indices` holds tuples that address the leading dimensions behind
// `batch_dims` of x; calls f(number of the tuple, offset in x) and returns the size of one slice.
template <typename F>
int64_t for_each_tuple(const Call& call, const HostTensor& x, const HostTensor& indices,
                       int64_t batch_dims, F f) {
  if (indices.shape.empty()) call.fail("needs at least one dimension of indices");
  const int64_t width = indices.shape.back();
  if (batch_dims < 0 || batch_dims >= indices.rank() || batch_dims + width > x.rank()) {
    call.fail("addresses more dimensions than its input has");
  }
  int64_t batch = 1;
  for (int64_t d = 0; d < batch_dims; ++d) {
    if (indices.shape[at(d)] != x.shape[at(d)]) call.fail("has batches of different size");
    batch *= x.shape[at(d)];
  }
  const Shape strides = row_major_strides(x.shape);
  const int64_t slice = element_count({x.shape.begin() + batch_dims + width, x.shape.end()});
  const int64_t per_batch = element_count({x.shape.begin() + batch_dims, x.shape.end()});
  const int64_t tuples = element_count({indices.shape.begin(), indices.shape.end() - 1});
  for (int64_t t = 0; t < tuples; ++t) {
    int64_t offset = (t / (tuples / batch)) * per_batch;
    for (int64_t d = 0; d < width; ++d) {
      const auto dim = at(batch_dims + d);
      offset += strides[dim] * checked_index(call, indices.i[at(t * width + d)], x.shape[dim]);
    }
    f(t, offset);
  }
  return slice;
}

Outputs gather_nd(const Call& call) {
  const HostTensor &x = call.input(0), &indices = indices_of(call);
  const int64_t batch_dims = call.node.integer("batch_dims", 0);
  std::vector<int64_t> offsets;
  const int64_t slice = for_each_tuple(call, x, indices, batch_dims,
                                       [&](int64_t, int64_t offset) { offsets.push_back(offset); });
  Shape shape(indices.shape.begin(), indices.shape.end() - 1);
  shape.insert(shape.end(), x.shape.begin() + batch_dims + indices.shape.back(), x.shape.end());
  HostTensor y = HostTensor::make(x.type, shape);
  for (size_t t = 0; t < offsets.size(); ++t) {
    copy(x, offsets[t], y, static_cast<int64_t>(t) * slice, slice);
  }
  return {std::move(y)};
}

Outputs scatter_nd(const Call& call) {
  HostTensor y = call.input(0);
  const HostTensor &indices = indices_of(call), &updates = call.input(2);
  const Reduction reduction = reduction_of(call);
  std::vector<int64_t> offsets;
  const int64_t slice = for_each_tuple(call, y, indices, 0,
                                       [&](int64_t, int64_t offset) { offsets.push_back(offset); });
  if (updates.is_integer() != y.is_integer() ||
      updates.elements() != static_cast<int64_t>(offsets.size()) * slice) {
    call.fail("needs one update of its input's type for each index");
  }
  for (size_t t = 0; t < offsets.size(); ++t) {
    write(reduction, updates, static_cast<int64_t>(t) * slice, y, offsets[t], slice);
  }
  return {std::move(y)};
}

}  // namespace

void register_gather(Registry& r) {
  r.add("", "Gather", gather);
  r.add("", "GatherElements", gather_elements);
  r.add("", "GatherND", gather_nd);
  r.add("", "ScatterElements", scatter_elements);
  r.add("", "ScatterND", scatter_nd);
}

}  // namespace pocket::reference
