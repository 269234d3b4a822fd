// Operators that read or write where integers say.
#include <algorithm>

#include "converter/lower/generic_builder.h"

namespace pocket::generic {
namespace {

using F = GenericFunction;

// The single element of an index that is known in symbols.
std::optional<Expr> known_index(Builder& b, size_t input) {
  const ir::Value& value = b.graph.value(b.node.inputs[input]);
  if (!value.elements && !value.constant) return std::nullopt;
  const std::vector<Expr> list = b.elements(input);
  if (list.size() != 1) return std::nullopt;
  return list[0];
}

View gather(Builder& b) {
  const View data = b.in(0);
  const auto d = static_cast<size_t>(b.axis(b.node.integer("axis", 0), data.rank()));
  const Shape shape = b.out_shape();
  if (const std::optional<Expr> at = known_index(b, 1)) {
    const bool negative = at->is_constant() && at->constant() < 0;
    const Expr place = negative ? data.shape[d] + *at : *at;
    if (b.proven_le(Expr(0), place) && b.proven_le(place, data.shape[d] - Expr(1))) {
      View one = data;
      one.offset = data.offset + place * data.strides[d];
      one.shape[d] = 1;
      one.strides[d] = 0;
      return b.reshape(one, shape);
    }
  }
  const View index = b.in(1);
  if (shape.size() != data.rank() + index.rank() - 1) throw Refused{};
  Builder::Step step;
  step.function = F::gather;
  step.integer = data.integer;
  step.domain = shape;
  step.out_strides = contiguous_strides(shape);
  Builder::Operand from{data, {}}, by{index, {}};
  for (size_t k = 0; k < shape.size(); ++k) {
    const bool indexed = k >= d && k < d + index.rank();
    const size_t source = k < d ? k : k - index.rank() + 1;
    from.strides.push_back(indexed ? Expr(0) : data.strides[source]);
    by.strides.push_back(indexed ? index.strides[k - d] : Expr(0));
  }
  step.operands = {std::move(from), std::move(by)};
  step.scalars = {Expr(0), data.shape[d], data.strides[d]};
  return b.make(shape, data.integer, {std::move(step)});
}

View gather_elements(Builder& b) {
  const View data = b.in(0), index = b.in(1);
  const Shape shape = b.out_shape();
  const auto d = static_cast<size_t>(b.axis(b.node.integer("axis", 0), data.rank()));
  if (index.rank() != data.rank()) throw Refused{};
  Builder::Step step;
  step.function = F::gather;
  step.integer = data.integer;
  step.domain = shape;
  step.out_strides = contiguous_strides(shape);
  std::vector<Expr> strides = data.strides;
  strides[d] = 0;
  step.operands = {{data, strides}, {index, index.strides}};
  step.scalars = {Expr(0), data.shape[d], data.strides[d]};
  return b.make(shape, data.integer, {std::move(step)});
}

// Lengths and strides of the leading dimensions that a row of an index chooses.
std::vector<Expr> row_scalars(const View& data, const View& index,
                              const std::vector<Expr>& strides) {
  if (index.rank() == 0 || !index.shape.back().is_constant()) throw Refused{};
  const int64_t count = index.shape.back().constant();
  if (count < 1 || count > 6 || static_cast<size_t>(count) > data.rank()) throw Refused{};
  std::vector<Expr> scalars = {index.strides.back()};
  for (size_t k = 0; k < static_cast<size_t>(count); ++k) {
    scalars.push_back(data.shape[k]);
    scalars.push_back(strides[k]);
  }
  return scalars;
}

// Strides over the domain [rows of the index..., dimensions behind the chosen ones...].
std::vector<Expr> behind(const std::vector<Expr>& strides, size_t rows, size_t chosen) {
  std::vector<Expr> result(rows, Expr(0));
  result.insert(result.end(), strides.begin() + static_cast<std::ptrdiff_t>(chosen), strides.end());
  return result;
}

std::vector<Expr> index_strides(const View& index, size_t rank) {
  std::vector<Expr> result(index.strides.begin(), index.strides.end() - 1);
  result.resize(rank, Expr(0));
  return result;
}

View gather_nd(Builder& b) {
  if (b.node.integer("batch_dims", 0) != 0) throw Refused{};
  const View data = b.in(0), index = b.in(1);
  const Shape shape = b.out_shape();
  Builder::Step step;
  step.function = F::gather;
  step.integer = data.integer;
  step.domain = shape;
  step.out_strides = contiguous_strides(shape);
  step.scalars = row_scalars(data, index, data.strides);
  const size_t chosen = (step.scalars.size() - 1) / 2;
  step.operands = {{data, behind(data.strides, index.rank() - 1, chosen)},
                   {index, index_strides(index, shape.size())}};
  return b.make(shape, data.integer, {std::move(step)});
}

Builder::Step copy_of(const View& data, const std::vector<Expr>& strides) {
  Builder::Step copy;
  copy.integer = data.integer;
  copy.domain = data.shape;
  copy.out_strides = strides;
  copy.operands = {{data, data.strides}};
  return copy;
}

View scatter_elements(Builder& b) {
  if (b.node.text("reduction", "none") != "none") throw Refused{};
  const View data = b.in(0), index = b.in(1), updates = b.in(2);
  const std::vector<Expr> strides = contiguous_strides(data.shape);
  const auto d = static_cast<size_t>(b.axis(b.node.integer("axis", 0), data.rank()));
  if (index.rank() != data.rank() || !(index.shape == updates.shape)) throw Refused{};
  Builder::Step step;
  step.function = F::scatter;
  step.integer = data.integer;
  step.domain = updates.shape;
  step.out_strides = strides;
  step.out_strides[d] = 0;
  step.operands = {{updates, updates.strides}, {index, index.strides}};
  step.scalars = {Expr(0), data.shape[d], strides[d]};
  return b.make(data.shape, data.integer, {copy_of(data, strides), std::move(step)});
}

View scatter_nd(Builder& b) {
  if (b.node.text("reduction", "none") != "none") throw Refused{};
  const View data = b.in(0), index = b.in(1), updates = b.in(2);
  const std::vector<Expr> strides = contiguous_strides(data.shape);
  Builder::Step step;
  step.function = F::scatter;
  step.integer = data.integer;
  step.domain = updates.shape;
  step.scalars = row_scalars(data, index, strides);
  const size_t chosen = (step.scalars.size() - 1) / 2;
  step.out_strides = behind(strides, index.rank() - 1, chosen);
  if (step.out_strides.size() != updates.rank()) throw Refused{};
  step.operands = {{updates, updates.strides}, {index, index_strides(index, updates.rank())}};
  return b.make(data.shape, data.integer, {copy_of(data, strides), std::move(step)});
}

// values[1] where the position along the axis is the index, else values[0].
View one_hot(Builder& b) {
  const View index = b.in(0), values = b.in(2);
  const Shape shape = b.out_shape();
  const auto d = static_cast<size_t>(b.axis(b.node.integer("axis", -1), shape.size()));
  const Expr depth = b.elements(1).at(0);
  View wanted = b.map(F::where,
                      {b.map(F::less, {index, Builder::integer(0)}, index.shape, true),
                       b.map(F::add, {index, Builder::integer(depth)}, index.shape, true), index},
                      index.shape, true);
  wanted.shape.insert(wanted.shape.begin() + static_cast<std::ptrdiff_t>(d), Expr(1));
  wanted.strides.insert(wanted.strides.begin() + static_cast<std::ptrdiff_t>(d), Expr(0));
  View position = Builder::integer(0);
  position.shape = shape;
  position.strides.assign(shape.size(), Expr(0));
  position.strides[d] = 1;
  const auto element = [&](int64_t i) {
    View one = values;
    one.offset = one.offset + Expr(i) * one.strides.at(0);
    one.shape.clear();
    one.strides.clear();
    return one;
  };
  const View hit = b.map(F::equal, {wanted, position}, shape, true);
  return b.map(F::where, {hit, element(1), element(0)}, shape, values.integer);
}

}  // namespace

bool lower_index(Builder& b) {
  const ir::Node& n = b.node;
  if (!n.domain.empty()) return false;
  std::optional<View> view;
  if (n.op == "Gather") view = gather(b);
  if (n.op == "GatherElements") view = gather_elements(b);
  if (n.op == "GatherND") view = gather_nd(b);
  if (n.op == "ScatterElements") view = scatter_elements(b);
  if (n.op == "ScatterND") view = scatter_nd(b);
  if (n.op == "OneHot") view = one_hot(b);
  if (!view) return false;
  b.set(0, *view);
  return true;
}

}  // namespace pocket::generic
