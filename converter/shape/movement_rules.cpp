// Shape rules of operators that move, repeat or create elements.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "converter/reference/slice_range.h"
#include "converter/shape/rule.h"

namespace pocket::shape {

namespace {

using ir::ElementType;
using Outputs = std::vector<Output>;

Expr product(const SymbolicShape& shape, size_t begin, size_t end) {
  Expr out(1);
  for (size_t d = begin; d < end; ++d) out = out * shape[d];
  return out;
}

Outputs reshape(const Call& call) {
  const SymbolicShape& input = call.shape(0);
  SymbolicShape shape = *call.list(1, "shape");
  const bool keep_zero = call.node.integer("allowzero", 0) != 0;
  int64_t free_axis = -1;
  for (size_t d = 0; d < shape.size(); ++d) {
    if (shape[d] == Expr(0) && !keep_zero) {
      if (d >= input.size()) call.fail("copies a dimension that its input does not have");
      shape[d] = input[d];
    } else if (shape[d] == Expr(-1)) {
      if (free_axis >= 0) call.fail("has two free dimensions");
      free_axis = static_cast<int64_t>(d);
    } else if (!call.proven_le(0, shape[d])) {
      throw Unresolved{"dimension " + shape[d].str() + " of the new shape may be negative"};
    }
  }
  if (free_axis < 0) {
    const Expr before = product(input, 0, input.size()), after = product(shape, 0, shape.size());
    if (before.is_constant() && after.is_constant() && !(before == after)) {
      call.fail("cannot give " + before.str() + " elements a shape of " + after.str());
    }
    return {{call.type(), std::move(shape)}};
  }
  // Equal dimensions cancel before what remains is divided.
  SymbolicShape rest = input;
  Expr divisor(1);
  for (size_t d = 0; d < shape.size(); ++d) {
    if (static_cast<int64_t>(d) == free_axis) continue;
    const auto equal = std::find(rest.begin(), rest.end(), shape[d]);
    if (equal != rest.end() && !(shape[d] == Expr(0)))
      rest.erase(equal);
    else
      divisor = divisor * shape[d];
  }
  const Expr dividend = product(rest, 0, rest.size());
  if (divisor == Expr(0)) call.fail("has a free dimension beside one of 0");
  const Expr quotient = Expr::floordiv(dividend, divisor);
  if (!(quotient * divisor == dividend)) {
    if (dividend.is_constant() && divisor.is_constant()) {
      call.fail("cannot split " + dividend.str() + " elements by " + divisor.str());
    }
    throw Unresolved{"nothing proves that " + divisor.str() + " divides " + dividend.str()};
  }
  shape[at(free_axis)] = quotient;
  return {{call.type(), std::move(shape)}};
}

Outputs flatten(const Call& call) {
  const SymbolicShape& input = call.shape(0);
  int64_t axis = call.node.integer("axis", 1);
  if (axis != call.rank(0)) axis = call.axis(axis, call.rank(0));
  return {{call.type(), {product(input, 0, at(axis)), product(input, at(axis), input.size())}}};
}

Outputs squeeze(const Call& call) {
  const SymbolicShape& input = call.shape(0);
  const auto axes = call.numbers(1, "axes");
  std::vector<bool> drop(input.size(), false);
  if (!axes) {
    for (size_t d = 0; d < input.size(); ++d) {
      drop[d] = input[d] == Expr(1);
      if (!drop[d] && !input[d].is_constant() && !call.proven_le(2, input[d])) {
        throw Unresolved{"dimension " + input[d].str() + " may be 1"};
      }
    }
  } else {
    for (const int64_t axis : *axes) {
      const int64_t d = call.axis(axis, call.rank(0));
      if (input[at(d)].is_constant() && !(input[at(d)] == Expr(1))) {
        call.fail("squeezes a dimension of " + input[at(d)].str());
      }
      drop[at(d)] = true;
    }
  }
  SymbolicShape shape;
  for (size_t d = 0; d < input.size(); ++d) {
    if (!drop[d]) shape.push_back(input[d]);
  }
  return {{call.type(), std::move(shape)}};
}

Outputs unsqueeze(const Call& call) {
  const SymbolicShape& input = call.shape(0);
  const std::vector<int64_t> axes = call.numbers(1, "axes").value_or(std::vector<int64_t>{});
  const int64_t rank = call.rank(0) + static_cast<int64_t>(axes.size());
  std::vector<bool> fresh(at(rank), false);
  for (const int64_t axis : axes) {
    const int64_t d = call.axis(axis, rank);
    if (fresh[at(d)]) call.fail("inserts one dimension twice");
    fresh[at(d)] = true;
  }
  SymbolicShape shape;
  auto next = input.begin();
  for (const bool inserted : fresh) shape.push_back(inserted ? Expr(1) : *next++);
  return {{call.type(), std::move(shape)}};
}

Outputs transpose(const Call& call) {
  const SymbolicShape& input = call.shape(0);
  std::vector<int64_t> order(input.size());
  std::iota(order.rbegin(), order.rend(), 0);
  order = call.node.integers("perm", order);
  if (order.size() != input.size()) call.fail("permutes another number of dimensions");
  SymbolicShape shape;
  for (const int64_t source : order) shape.push_back(input[at(call.axis(source, call.rank(0)))]);
  return {{call.type(), std::move(shape)}};
}

Outputs expand(const Call& call) {
  return {{call.type(), broadcast(call, call.shape(0), call.elements(1))}};
}

Outputs tile(const Call& call) {
  SymbolicShape shape = call.shape(0);
  const std::vector<Expr> repeats = call.elements(1);
  if (repeats.size() != shape.size()) call.fail("repeats another number of dimensions");
  for (size_t d = 0; d < shape.size(); ++d) shape[d] = shape[d] * repeats[d];
  return {{call.type(), std::move(shape)}};
}

Outputs concat(const Call& call) {
  SymbolicShape shape = call.shape(0);
  const auto axis = at(call.axis(call.node.integer("axis", 0), call.rank(0)));
  for (size_t k = 1; k < call.inputs.size(); ++k) {
    const SymbolicShape& next = call.shape(k);
    if (next.size() != shape.size()) call.fail("joins tensors of different rank");
    for (size_t d = 0; d < shape.size(); ++d) {
      shape[d] = d == axis ? shape[d] + next[d] : same_dimension(call, shape[d], next[d]);
    }
  }
  return {{call.type(), std::move(shape)}};
}

Outputs split(const Call& call) {
  const SymbolicShape& input = call.shape(0);
  const auto axis = at(call.axis(call.node.integer("axis", 0), call.rank(0)));
  const auto parts = static_cast<int64_t>(call.node.outputs.size());
  std::vector<Expr> sizes;
  if (const auto given = call.list(1, "split")) {
    sizes = *given;
    Expr sum;
    for (const Expr& size : sizes) sum = sum + size;
    const bool wrong = sum.is_constant() && input[axis].is_constant() && !(sum == input[axis]);
    if (static_cast<int64_t>(sizes.size()) != parts || wrong) {
      call.fail("splits " + input[axis].str() + " into parts that do not add up");
    }
  } else {
    const Expr each = Expr::ceildiv(input[axis], parts);
    const Expr last = input[axis] - each * Expr(parts - 1);
    if (!call.proven_le(0, last)) {
      throw Unresolved{"nothing proves how " + input[axis].str() + " splits into equal parts"};
    }
    sizes.assign(at(parts), each);
    sizes.back() = last;
  }
  Outputs out;
  for (const Expr& size : sizes) {
    out.push_back({call.type(), input});
    out.back().shape[axis] = size;
  }
  return out;
}

// A start or end of a slice with a positive step, as a position in [0, size].
Expr slice_position(const Call& call, Expr position, const Expr& size) {
  if (position.is_constant() && position.constant() >= INT32_MAX) return size;
  if (position.is_constant() && position.constant() <= INT32_MIN) return Expr(0);
  if (!call.proven_le(0, position)) {
    if (!call.proven_le(position, -1)) {
      throw Unresolved{"nothing proves the sign of the position " + position.str()};
    }
    position = position + size;
    if (!call.proven_le(0, position)) position = Expr::max(0, position);
  }
  if (call.proven_le(position, size)) return position;
  return call.proven_le(size, position) ? size : Expr::min(position, size);
}

Outputs slice(const Call& call) {
  SymbolicShape shape = call.shape(0);
  const auto starts = call.list(1, "starts"), ends = call.list(2, "ends");
  if (!starts || !ends) call.fail("has no starts or no ends");
  std::vector<int64_t> axes(starts->size());
  std::iota(axes.begin(), axes.end(), 0);
  axes = call.numbers(3, "axes").value_or(axes);
  const std::vector<int64_t> steps =
      call.numbers(4, "steps").value_or(std::vector<int64_t>(starts->size(), 1));
  if (ends->size() != starts->size() || axes.size() != starts->size() ||
      steps.size() != starts->size()) {
    call.fail("has lists of different lengths");
  }
  for (size_t k = 0; k < axes.size(); ++k) {
    Expr& dim = shape[at(call.axis(axes[k], call.rank(0)))];
    const Expr &start = (*starts)[k], &end = (*ends)[k];
    if (steps[k] == 0) call.fail("has a step of 0");
    if (dim.is_constant() && start.is_constant() && end.is_constant()) {
      dim =
          reference::slice_range(start.constant(), end.constant(), steps[k], dim.constant()).count;
      continue;
    }
    if (steps[k] < 0) throw Unresolved{"it walks backwards over a dimension in symbols"};
    const Expr first = slice_position(call, start, dim), stop = slice_position(call, end, dim);
    Expr count = stop - first;
    if (!call.proven_le(0, count)) count = Expr::max(0, count);
    dim = Expr::ceildiv(count, steps[k]);
  }
  return {{call.type(), std::move(shape)}};
}

Outputs shape_of(const Call& call) {
  const int64_t rank = call.rank(0);
  const auto bound = [&](int64_t x) { return std::clamp<int64_t>(x < 0 ? x + rank : x, 0, rank); };
  const int64_t start = bound(call.node.integer("start", 0));
  const int64_t end = std::max(start, bound(call.node.integer("end", rank)));
  return {{ElementType::i64, {Expr(end - start)}}};
}

Outputs size_of(const Call&) { return {{ElementType::i64, {}}}; }

Outputs constant_of_shape(const Call& call) {
  ElementType type = ElementType::f32;
  const auto it = call.node.attributes.find("value");
  if (it != call.node.attributes.end()) {
    if (const auto* data = std::get_if<ir::TensorData>(&it->second)) type = data->type;
  }
  SymbolicShape shape = call.elements(0);
  for (const Expr& dim : shape) {
    if (!call.proven_le(0, dim)) throw Unresolved{"dimension " + dim.str() + " may be negative"};
  }
  return {{type, std::move(shape)}};
}

Outputs range(const Call& call) {
  if (ir::is_float_type(call.type())) {
    double x[3] = {};
    for (size_t k = 0; k < 3; ++k) {
      const ir::Value& value = call.input(k);
      if (!value.constant || value.constant->elements() != 1 || value.constant->bytes == nullptr) {
        throw Unresolved{"it counts in floats that are not constant"};
      }
      x[k] = static_cast<double>(value.constant->as_floats()[0]);
    }
    const double count = std::ceil((x[1] - x[0]) / x[2]);
    if (!(std::abs(count) < 4294967296.0)) call.fail("counts further than any tensor reaches");
    return {{call.type(), {Expr(static_cast<int64_t>(std::max(0.0, count)))}}};
  }
  const std::vector<Expr> start = call.elements(0), limit = call.elements(1),
                          delta = call.elements(2);
  if (start.size() != 1 || limit.size() != 1 || delta.size() != 1) call.fail("needs three scalars");
  if (!delta[0].is_constant()) throw Unresolved{"its step is " + delta[0].str()};
  if (delta[0] == Expr(0)) call.fail("has a step of 0");
  Expr count = Expr::ceildiv(limit[0] - start[0], delta[0]);
  if (!call.proven_le(0, count)) count = Expr::max(0, count);
  return {{call.type(), {std::move(count)}}};
}

Outputs gather(const Call& call) {
  const SymbolicShape &input = call.shape(0), &indices = call.shape(1);
  const int64_t axis = call.axis(call.node.integer("axis", 0), call.rank(0));
  SymbolicShape shape(input.begin(), input.begin() + axis);
  shape.insert(shape.end(), indices.begin(), indices.end());
  shape.insert(shape.end(), input.begin() + axis + 1, input.end());
  return {{call.type(), std::move(shape)}};
}

Outputs gather_elements(const Call& call) { return {{call.type(), call.shape(1)}}; }

Outputs gather_nd(const Call& call) {
  const SymbolicShape &input = call.shape(0), &indices = call.shape(1);
  if (indices.empty() || !indices.back().is_constant()) {
    throw Unresolved{"the length of its index tuples is unknown"};
  }
  const int64_t skipped = call.node.integer("batch_dims", 0) + indices.back().constant();
  if (skipped < 0 || skipped > call.rank(0)) call.fail("addresses more dimensions than there are");
  SymbolicShape shape(indices.begin(), indices.end() - 1);
  shape.insert(shape.end(), input.begin() + skipped, input.end());
  return {{call.type(), std::move(shape)}};
}

// One of two tables, as long as the longer one (reference/pocket_ops.h).
Outputs choose(const Call& call) {
  const SymbolicShape &a = call.shape(1), &b = call.shape(2);
  const bool tables = !a.empty() && a.size() == b.size() && a[0].is_constant() &&
                      b[0].is_constant() && std::equal(a.begin() + 1, a.end(), b.begin() + 1);
  if (!tables) call.fail("needs tables that differ in their rows alone");
  return {{call.type(1), a[0].constant() > b[0].constant() ? a : b}};
}

}  // namespace

void add_movement_rules(Rules& rules) {
  rules[{"", "Reshape"}] = reshape;
  rules[{"", "Flatten"}] = flatten;
  rules[{"", "Squeeze"}] = squeeze;
  rules[{"", "Unsqueeze"}] = unsqueeze;
  rules[{"", "Transpose"}] = transpose;
  rules[{"", "Expand"}] = expand;
  rules[{"", "Tile"}] = tile;
  rules[{"", "Concat"}] = concat;
  rules[{"", "Split"}] = split;
  rules[{"", "Slice"}] = slice;
  rules[{"", "Shape"}] = shape_of;
  rules[{"", "Size"}] = size_of;
  rules[{"", "ConstantOfShape"}] = constant_of_shape;
  rules[{"", "Range"}] = range;
  rules[{"", "Gather"}] = gather;
  rules[{"", "GatherElements"}] = gather_elements;
  rules[{"", "GatherND"}] = gather_nd;
  rules[{"pocket", "Choose"}] = choose;
}

}  // namespace pocket::shape
