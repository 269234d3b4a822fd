// Products: MatMul, Gemm, Einsum.
#include <Eigen/Core>
#include <algorithm>
#include <map>

#include "converter/reference/broadcast.h"
#include "converter/reference/operators.h"

namespace pocket::reference {

namespace {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using View = Eigen::Map<const Matrix>;

void need_floats(const Call& call) {
  for (const HostTensor* x : call.inputs) {
    if (x != nullptr && x->is_integer()) call.fail("needs float inputs");
  }
}

std::vector<HostTensor> matmul(const Call& call) {
  need_floats(call);
  const HostTensor &a = call.input(0), &b = call.input(1);
  if (a.shape.empty() || b.shape.empty()) call.fail("cannot multiply a scalar");
  Shape left = a.shape, right = b.shape;
  if (a.rank() == 1) left.insert(left.begin(), 1);  // numpy: a row, and a column below
  if (b.rank() == 1) right.push_back(1);
  const int64_t m = left[left.size() - 2], k = left.back(), n = right.back();
  if (right[right.size() - 2] != k) {
    call.fail("multiplies " + std::to_string(k) + " columns by " +
              std::to_string(right[right.size() - 2]) + " rows");
  }
  const Shape left_batch(left.begin(), left.end() - 2), right_batch(right.begin(), right.end() - 2);
  const Shape batch = broadcast_shapes(call, {left_batch, right_batch});
  Shape shape = batch;
  if (a.rank() > 1) shape.push_back(m);
  if (b.rank() > 1) shape.push_back(n);
  HostTensor y = HostTensor::make(a.type, shape);
  if (y.f.empty()) return {std::move(y)};
  const std::array strides{broadcast_strides(left_batch, batch),
                           broadcast_strides(right_batch, batch)};
  for_each_element(batch, strides, [&](int64_t index, const auto& in) {
    Eigen::Map<Matrix>(y.f.data() + index * m * n, m, n).noalias() =
        View(a.f.data() + in[0] * m * k, m, k) * View(b.f.data() + in[1] * k * n, k, n);
  });
  return {std::move(y)};
}

std::vector<HostTensor> gemm(const Call& call) {
  need_floats(call);
  const HostTensor &a = call.input(0), &b = call.input(1);
  if (a.rank() != 2 || b.rank() != 2) call.fail("needs two matrices");
  const bool turn_a = call.node.integer("transA", 0) != 0;
  const bool turn_b = call.node.integer("transB", 0) != 0;
  const float alpha = call.node.real("alpha", 1.0f), beta = call.node.real("beta", 1.0f);
  const View left(a.f.data(), a.shape[0], a.shape[1]), right(b.f.data(), b.shape[0], b.shape[1]);
  const int64_t m = turn_a ? left.cols() : left.rows(), k = turn_a ? left.rows() : left.cols();
  const int64_t n = turn_b ? right.rows() : right.cols();
  if ((turn_b ? right.cols() : right.rows()) != k) {
    call.fail("multiplies matrices whose inner dimensions differ");
  }
  HostTensor y = HostTensor::make(a.type, {m, n});
  Eigen::Map<Matrix> out(y.f.data(), m, n);
  if (turn_a && turn_b)
    out.noalias() = left.transpose() * right.transpose();
  else if (turn_a)
    out.noalias() = left.transpose() * right;
  else if (turn_b)
    out.noalias() = left * right.transpose();
  else
    out.noalias() = left * right;
  if (alpha != 1.0f) out *= alpha;
  if (call.has(2)) {
    const HostTensor& c = call.input(2);
    if (broadcast_shapes(call, {c.shape, y.shape}) != y.shape) call.fail("has an addend too large");
    for_each_element(y.shape, std::array{broadcast_strides(c.shape, y.shape)},
                     [&](int64_t i, const auto& in) { y.f[at(i)] += beta * c.f[at(in[0])]; });
  }
  return {std::move(y)};
}

// The general form: for every output index, the sum over all other labels of the product.
std::vector<HostTensor> einsum(const Call& call) {
  need_floats(call);
  std::string equation;
  for (const char c : call.node.text("equation", "")) {
    if (c != ' ') equation += c;
  }
  if (equation.find('.') != std::string::npos) call.fail("uses an ellipsis, which is unsupported");
  std::vector<std::string> terms(1);
  std::string result;
  const size_t arrow = equation.find("->");
  for (const char c : equation.substr(0, arrow)) {
    if (c == ',')
      terms.emplace_back();
    else
      terms.back() += c;
  }
  std::map<char, int64_t> sizes;
  std::map<char, int> uses;
  if (terms.size() != call.inputs.size()) call.fail("has another number of terms than of inputs");
  if (terms.size() > 2) call.fail("multiplies more than two inputs, which is unsupported");
  for (size_t k = 0; k < terms.size(); ++k) {
    const Shape& shape = call.input(k).shape;
    if (terms[k].size() != shape.size()) call.fail("names too many or too few dimensions");
    for (size_t d = 0; d < shape.size(); ++d) {
      const auto [it, fresh] = sizes.emplace(terms[k][d], shape[d]);
      if (!fresh && it->second != shape[d]) call.fail("gives one label two sizes");
      ++uses[terms[k][d]];
    }
  }
  if (arrow != std::string::npos) {
    result = equation.substr(arrow + 2);
  } else {
    for (const auto& [label, count] : uses) {
      if (count == 1) result += label;
    }
  }
  std::string labels = result;  // outer loop: result; inner: the labels that are summed
  for (const auto& [label, size] : sizes) {
    if (labels.find(label) == std::string::npos) labels += label;
  }
  Shape whole, out_shape;
  for (const char label : result) {
    if (std::count(result.begin(), result.end(), label) > 1) {
      call.fail("repeats a label in its result, which is unsupported");
    }
  }
  for (const char label : labels) {
    if (!sizes.contains(label)) call.fail("results in a label that no input has");
    whole.push_back(sizes[label]);
  }
  out_shape.assign(whole.begin(), whole.begin() + static_cast<int64_t>(result.size()));
  HostTensor y = HostTensor::make(call.input(0).type, out_shape);
  // One operand is a product with 1. Nothing of the size of the whole loop is stored.
  const HostTensor one = HostTensor::floats({}, {1.0f});
  const HostTensor* operands[2] = {&one, &one};
  std::array<Shape, 2> strides{Shape(whole.size(), 0), Shape(whole.size(), 0)};
  for (size_t k = 0; k < terms.size(); ++k) {
    operands[k] = &call.input(k);
    const Shape own = row_major_strides(operands[k]->shape);
    for (size_t d = 0; d < own.size(); ++d) strides[k][labels.find(terms[k][d])] += own[d];
  }
  std::vector<double> sums(y.f.size(), 0.0);
  const int64_t inner = sums.empty() ? 1 : element_count(whole) / static_cast<int64_t>(sums.size());
  for_each_element(whole, strides, [&](int64_t i, const auto& in) {
    sums[at(i / inner)] += static_cast<double>(operands[0]->f[at(in[0])]) *
                           static_cast<double>(operands[1]->f[at(in[1])]);
  });
  for (size_t i = 0; i < sums.size(); ++i) y.f[i] = static_cast<float>(sums[i]);
  return {std::move(y)};
}

}  // namespace

void register_matmul(Registry& r) {
  r.add("", "MatMul", matmul);
  r.add("", "Gemm", gemm);
  r.add("", "Einsum", einsum);
}

}  // namespace pocket::reference
