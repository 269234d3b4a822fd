// Operators that move elements: views where a view says it, copies where memory must be laid out
// anew. Rows that a graph concatenates to a state are appended in place.
#include <algorithm>
#include <numeric>

#include "converter/lower/generic_builder.h"

namespace pocket::generic {
namespace {

using F = GenericFunction;

View transpose(Builder& b) {
  const View x = b.in(0);
  std::vector<int64_t> order = b.node.integers("perm");
  if (order.empty()) {
    order.resize(x.rank());
    std::iota(order.rbegin(), order.rend(), int64_t{0});
  }
  if (order.size() != x.rank()) throw Refused{};
  View result = x;
  for (size_t d = 0; d < x.rank(); ++d) {
    const auto from = static_cast<size_t>(b.axis(order[d], x.rank()));
    result.shape[d] = x.shape[from];
    result.strides[d] = x.strides[from];
  }
  return result;
}

// First element and step along an axis of `extent`; Refused unless nothing can be clamped.
struct Cut {
  Expr first;
  int64_t step = 1;
};
Cut cut_of(const Builder& b, const Expr& start, int64_t step, const Expr& extent,
           const Expr& count) {
  Expr first = start;
  if (start.is_constant()) {
    const int64_t at = start.constant();
    if (step < 0) {
      // Only from the end on: everything else depends on the extent.
      const bool from_end = at == -1 || at >= (int64_t{1} << 31) - 1;
      if (!from_end) throw Refused{};
      first = extent - Expr(1);
    } else if (at < 0) {
      first = extent + Expr(at);
    }
  } else if (step < 0) {
    throw Refused{};
  }
  // Not clamped at either end, whatever the symbols are worth.
  const Expr last = first + (count - Expr(1)) * Expr(step);
  const bool inside = step > 0 ? b.proven_le(Expr(0), first) && b.proven_le(last, extent - Expr(1))
                               : b.proven_le(Expr(0), last) && b.proven_le(first, extent - Expr(1));
  if (!inside && !(count == Expr(0))) throw Refused{};
  return {first, step};
}

View slice(Builder& b) {
  View x = b.in(0);
  const Shape shape = b.out_shape();
  std::vector<Expr> starts, axes, steps;
  if (b.has(1)) {
    starts = b.elements(1);
  } else {
    for (const int64_t start : b.node.integers("starts")) starts.emplace_back(start);
  }
  if (b.has(3)) {
    axes = b.elements(3);
  } else {
    for (const int64_t axis : b.node.integers("axes")) axes.emplace_back(axis);
  }
  if (b.has(4)) steps = b.elements(4);
  for (size_t i = 0; i < starts.size(); ++i) {
    const Expr axis = axes.empty() ? Expr(static_cast<int64_t>(i)) : axes.at(i);
    const Expr step = steps.empty() ? Expr(1) : steps.at(i);
    if (!axis.is_constant() || !step.is_constant()) throw Refused{};
    const auto d = static_cast<size_t>(b.axis(axis.constant(), x.rank()));
    const Cut cut = cut_of(b, starts[i], step.constant(), x.shape[d], shape.at(d));
    x.offset = x.offset + cut.first * x.strides[d];
    x.strides[d] = x.strides[d] * Expr(cut.step);
    x.shape[d] = shape[d];
  }
  return x;
}

void split(Builder& b) {
  const View x = b.in(0);
  const auto d = static_cast<size_t>(b.axis(b.node.integer("axis", 0), x.rank()));
  Expr first(0);
  for (size_t i = 0; i < b.node.outputs.size(); ++i) {
    if (b.node.outputs[i] == ir::kAbsent) throw Refused{};
    View part = x;
    part.shape[d] = b.out_shape(i).at(d);
    part.offset = x.offset + first * x.strides[d];
    first = first + part.shape[d];
    b.set(i, part);
  }
}

// past ++ new rows, when the first part is the filled part of a state: the rows go to their place.
std::optional<View> append(Builder& b, const std::vector<View>& parts, size_t d) {
  if (parts.size() != 2 || !parts[0].is_state || !(parts[0].offset == Expr(0)) ||
      !(parts[0].shape[d] == Expr::symbol("past")) ||
      !(parts[1].shape[d] == Expr::symbol("tokens"))) {
    return std::nullopt;
  }
  View result = parts[0];
  Builder::Step step;
  step.domain = parts[1].shape;
  step.out_offset = Expr::symbol("past") * result.strides[d];
  step.out_strides = result.strides;
  step.operands = {{parts[1], parts[1].strides}};
  b.append(result, {std::move(step)});
  result.shape[d] = result.shape[d] + parts[1].shape[d];
  return result;
}

View concat(Builder& b) {
  std::vector<View> parts;
  for (size_t i = 0; i < b.node.inputs.size(); ++i) parts.push_back(b.in(i));
  const Shape shape = b.out_shape();
  const auto d = static_cast<size_t>(b.axis(b.node.integer("axis", 0), shape.size()));
  if (std::optional<View> state = append(b, parts, d)) return *state;
  const std::vector<Expr> strides = contiguous_strides(shape);
  std::vector<Builder::Step> steps;
  Expr first(0);
  for (const View& part : parts) {
    if (part.rank() != shape.size()) throw Refused{};
    Builder::Step step;
    step.integer = part.integer;
    step.domain = part.shape;
    step.out_offset = first * strides[d];
    step.out_strides = strides;
    step.operands = {{part, part.strides}};
    first = first + part.shape[d];
    steps.push_back(std::move(step));
  }
  return b.make(shape, b.out_integer(), std::move(steps));
}

View tile(Builder& b) {
  const View x = b.in(0);
  const std::vector<Expr> repeats = b.elements(1);
  const Shape shape = b.out_shape();
  if (repeats.size() != x.rank()) throw Refused{};
  const std::vector<Expr> strides = contiguous_strides(shape);
  Builder::Step step;
  step.integer = x.integer;
  Builder::Operand operand{x, {}};
  for (size_t d = 0; d < x.rank(); ++d) {
    step.domain.insert(step.domain.end(), {repeats[d], x.shape[d]});
    step.out_strides.insert(step.out_strides.end(), {x.shape[d] * strides[d], strides[d]});
    operand.strides.insert(operand.strides.end(), {Expr(0), x.strides[d]});
  }
  step.operands = {std::move(operand)};
  return b.make(shape, x.integer, {std::move(step)});
}

View pad(Builder& b) {
  const View x = b.in(0);
  const Shape shape = b.out_shape();
  const std::vector<Expr> strides = contiguous_strides(shape);
  if (b.node.text("mode", "constant") != "constant") throw Refused{};
  const std::vector<Expr> pads = b.elements(1);
  std::vector<Expr> axes;
  if (b.has(3)) axes = b.elements(3);
  const size_t count = axes.empty() ? x.rank() : axes.size();
  if (pads.size() != 2 * count) throw Refused{};
  Builder::Step fill, copy;
  fill.integer = copy.integer = x.integer;
  fill.domain = shape;
  fill.out_strides = strides;
  const View value = b.has(2) ? b.in(2) : x.integer ? Builder::integer(0) : Builder::number(0.0);
  fill.operands = {{value, Builder::aligned(value, shape)}};
  copy.domain = x.shape;
  copy.out_strides = strides;
  copy.operands = {{x, x.strides}};
  for (size_t i = 0; i < count; ++i) {
    const Expr axis = axes.empty() ? Expr(static_cast<int64_t>(i)) : axes[i];
    if (!axis.is_constant()) throw Refused{};
    const auto d = static_cast<size_t>(b.axis(axis.constant(), x.rank()));
    if (!b.proven_le(Expr(0), pads[i]) || !b.proven_le(Expr(0), pads[i + count])) throw Refused{};
    copy.out_offset = copy.out_offset + pads[i] * strides[d];
  }
  return b.make(shape, x.integer, {std::move(fill), std::move(copy)});
}

View range(Builder& b) {
  const Shape shape = b.out_shape();
  View view;
  if (b.out_integer()) {
    view = Builder::integer(b.elements(0).at(0));
    view.shape = shape;
    view.strides = {b.elements(2).at(0)};
    return view;
  }
  const View start = b.in(0), step = b.in(2);
  View count = Builder::integer(0);
  count.shape = shape;
  count.strides = {Expr(1)};
  const auto scalar = [](View v) {
    v.shape.clear();
    v.strides.clear();
    return v;
  };
  return b.map(F::add, {b.map(F::mul, {count, scalar(step)}, shape, false), scalar(start)}, shape,
               false);
}

// Elements above (or below) a diagonal: the distance from it is an index of its own.
View trilu(Builder& b) {
  const View x = b.in(0);
  const size_t rank = x.rank();
  if (rank < 2) throw Refused{};
  const Expr k = b.has(1) ? b.elements(1).at(0) : Expr(0);
  const int64_t sign = b.node.integer("upper", 1) != 0 ? 1 : -1;
  View distance = Builder::integer(k * Expr(-sign));
  distance.shape = x.shape;
  distance.strides.assign(rank, Expr(0));
  distance.strides[rank - 1] = sign;
  distance.strides[rank - 2] = -sign;
  return b.map(F::keep, {x, distance}, x.shape, x.integer);
}

View filled(Builder& b) {
  View view = b.out_integer() ? Builder::integer(0) : Builder::number(0.0);
  const auto found = b.node.attributes.find("value");
  if (found != b.node.attributes.end()) {
    const auto* data = std::get_if<ir::TensorData>(&found->second);
    if (data == nullptr || data->elements() != 1) throw Refused{};
    if (view.integer) {
      view.offset = data->as_integers().front();
    } else {
      view.number = data->as_floats().front();
    }
  }
  view.shape = b.out_shape();
  view.strides.assign(view.rank(), Expr(0));
  return view;
}

}  // namespace

bool lower_movement(Builder& b) {
  const ir::Node& n = b.node;
  if (!n.domain.empty()) return false;
  if (n.op == "Split") {
    split(b);
    return true;
  }
  std::optional<View> view;
  if (n.op == "Reshape" || n.op == "Squeeze" || n.op == "Unsqueeze" || n.op == "Flatten") {
    view = b.reshape(b.in(0), b.out_shape());
  } else if (n.op == "Transpose") {
    view = transpose(b);
  } else if (n.op == "Slice") {
    view = slice(b);
  } else if (n.op == "Expand") {
    view = Builder::broadcast(b.in(0), b.out_shape());
  } else if (n.op == "Concat") {
    view = concat(b);
  } else if (n.op == "Tile") {
    view = tile(b);
  } else if (n.op == "Pad") {
    view = pad(b);
  } else if (n.op == "Range") {
    view = range(b);
  } else if (n.op == "Trilu") {
    view = trilu(b);
  } else if (n.op == "ConstantOfShape") {
    view = filled(b);
  }
  if (!view) return false;
  b.set(0, *view);
  return true;
}

}  // namespace pocket::generic
