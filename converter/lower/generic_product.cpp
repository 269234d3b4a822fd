// Products of tensors: one inner product a result.
#include <algorithm>
#include <map>
#include <string>

#include "converter/lower/generic_builder.h"

namespace pocket::generic {
namespace {

using F = GenericFunction;

// A view whose dimensions have names; equal names are multiplied element by element.
struct Named {
  View view;
  std::string names;
};

View einsum(Builder& b, const std::vector<Named>& operands, const std::string& result) {
  std::map<char, Expr> extents;
  std::string all = result;
  for (const Named& operand : operands) {
    if (operand.names.size() != operand.view.rank()) throw Refused{};
    for (size_t d = 0; d < operand.names.size(); ++d) {
      const char name = operand.names[d];
      const Expr& extent = operand.view.shape[d];
      const auto [entry, is_new] = extents.try_emplace(name, extent);
      if (!is_new && entry->second == Expr(1)) entry->second = extent;
      if (!(extent == Expr(1)) && !(extent == entry->second)) throw Refused{};
      if (all.find(name) == std::string::npos) all += name;
    }
  }
  Builder::Step step;
  step.function = operands.size() == 2 ? F::dot : F::reduce_sum;
  step.integer = std::all_of(operands.begin(), operands.end(),
                             [](const Named& operand) { return operand.view.integer; });
  Shape shape;
  for (size_t i = 0; i < all.size(); ++i) {
    const auto found = extents.find(all[i]);
    if (found == extents.end()) throw Refused{};
    step.domain.push_back(found->second);
    if (i < result.size()) shape.push_back(found->second);
  }
  step.inner = static_cast<int32_t>(all.size() - result.size());
  step.out_strides = contiguous_strides(shape);
  step.out_strides.resize(all.size());
  for (const Named& operand : operands) {
    Builder::Operand made{operand.view, {}};
    for (const char name : all) {
      Expr stride(0);
      for (size_t d = 0; d < operand.names.size(); ++d) {
        const bool one = operand.view.shape[d] == Expr(1);
        if (operand.names[d] == name && !one) stride = stride + operand.view.strides[d];
      }
      made.strides.push_back(stride);
    }
    step.operands.push_back(std::move(made));
  }
  return b.make(shape, step.integer, {std::move(step)});
}

View matmul(Builder& b, const View& x, const View& y) {
  if (x.rank() == 0 || y.rank() == 0) throw Refused{};
  // Batch dimensions are named from the right, so that they broadcast.
  const auto batch = [](size_t rank) {
    const size_t count = rank > 2 ? rank - 2 : 0;
    std::string names;
    for (size_t i = count; i-- > 0;) names += static_cast<char>('a' + i);
    return names;
  };
  const std::string x_names = batch(x.rank()) + (x.rank() > 1 ? "M" : "") + "K";
  const std::string y_names = batch(y.rank()) + "K" + (y.rank() > 1 ? "N" : "");
  std::string result = batch(std::max(x.rank(), y.rank()));
  if (x.rank() > 1) result += "M";
  if (y.rank() > 1) result += "N";
  return einsum(b, {{x, x_names}, {y, y_names}}, result);
}

View gemm(Builder& b) {
  const ir::Node& n = b.node;
  View y = einsum(b,
                  {{b.in(0), n.integer("transA", 0) != 0 ? "KM" : "MK"},
                   {b.in(1), n.integer("transB", 0) != 0 ? "NK" : "KN"}},
                  "MN");
  const Shape shape = y.shape;
  const double alpha = n.real("alpha", 1.0f), beta = n.real("beta", 1.0f);
  if (alpha != 1.0) y = b.map(F::mul, {y, Builder::number(alpha)}, shape, false);
  if (!b.has(2)) return y;
  View c = b.in(2);
  if (beta != 1.0) c = b.map(F::mul, {c, Builder::number(beta)}, c.shape, false);
  return b.map(F::add, {y, c}, shape, false);
}

View written_einsum(Builder& b) {
  std::string text = b.node.text("equation", "");
  std::erase(text, ' ');
  const size_t arrow = text.find("->");
  if (arrow == std::string::npos || text.find('.') != std::string::npos) throw Refused{};
  std::vector<Named> operands;
  size_t begin = 0, input = 0;
  while (begin <= arrow) {
    const size_t end = std::min(arrow, text.find(',', begin));
    operands.push_back({b.in(input++), text.substr(begin, end - begin)});
    begin = end + 1;
    if (end == arrow) break;
  }
  if (operands.size() > 2 || input != b.node.inputs.size()) throw Refused{};
  return einsum(b, operands, text.substr(arrow + 2));
}

// A recognised projection of something that is no row per token: {x, bias, residual, weight}.
View linear(Builder& b) {
  const ir::Node& n = b.node;
  const std::vector<int64_t> transposed = n.integers("transposed");
  const std::vector<int64_t> first = n.integers("first_row"), rows = n.integers("rows");
  const bool plain = n.inputs.size() == 4 && transposed.size() == 1 && first.size() == 1 &&
                     rows.size() == 1 && n.text("activation", "none") == "none";
  if (!plain) throw Refused{};
  const View x = b.in(0), w = b.in(3);
  const size_t row_dimension = transposed[0] != 0 ? 1 : 0;
  if (w.rank() != 2 || first[0] != 0 || !(w.shape[row_dimension] == Expr(rows[0]))) {
    throw Refused{};
  }
  View matrix = w;
  if (row_dimension == 0) {
    std::swap(matrix.shape[0], matrix.shape[1]);
    std::swap(matrix.strides[0], matrix.strides[1]);
  }
  View y = matmul(b, x, matrix);
  const Shape shape = y.shape;
  if (b.has(1)) y = b.map(F::add, {y, b.in(1)}, shape, false);
  if (b.has(2)) y = b.map(F::add, {y, b.in(2)}, shape, false);
  return y;
}

}  // namespace

bool lower_product(Builder& b) {
  const ir::Node& n = b.node;
  std::optional<View> view;
  if (n.is("MatMul")) view = matmul(b, b.in(0), b.in(1));
  if (n.is("Gemm")) view = gemm(b);
  if (n.is("Einsum")) view = written_einsum(b);
  if (n.is("Linear", "pocket")) view = linear(b);
  if (!view) return false;
  b.set(0, *view);
  return true;
}

}  // namespace pocket::generic
