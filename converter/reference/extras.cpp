// Operators that exports use now and then: more functions of one value, arg-max, one-hot, padding,
// bits, and ONNX Runtime's product with transposed operands.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "converter/reference/broadcast.h"
#include "converter/reference/operators.h"

namespace pocket::reference {

namespace {

using Outputs = std::vector<HostTensor>;

template <typename Fn>
Outputs mapped(const Call& call, Fn fn) {
  if (call.input(0).is_integer()) call.fail("needs a float input");
  HostTensor y = call.input(0);
  for (float& x : y.f) x = fn(x);
  return {std::move(y)};
}

float sigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }

Outputs swish(const Call& call) {
  const float alpha = call.node.real("alpha", 1.0f);
  return mapped(call, [=](float x) { return x * sigmoid(alpha * x); });
}
Outputs elu(const Call& call) {
  const float alpha = call.node.real("alpha", 1.0f);
  return mapped(call, [=](float x) { return x < 0 ? alpha * std::expm1(x) : x; });
}
Outputs leaky_relu(const Call& call) {
  const float alpha = call.node.real("alpha", 0.01f);
  return mapped(call, [=](float x) { return x < 0 ? alpha * x : x; });
}
Outputs hard_sigmoid(const Call& call) {
  const float alpha = call.node.real("alpha", 0.2f), beta = call.node.real("beta", 0.5f);
  return mapped(call, [=](float x) { return std::clamp(alpha * x + beta, 0.0f, 1.0f); });
}
Outputs hard_swish(const Call& call) {
  return mapped(call, [](float x) { return x * std::clamp(x / 6.0f + 0.5f, 0.0f, 1.0f); });
}
Outputs mish(const Call& call) {
  return mapped(call, [](float x) {
    return x * std::tanh(x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)));
  });
}
Outputs round_even(const Call& call) {
  return mapped(call, [](float x) { return std::nearbyint(x); });
}
Outputs tangent(const Call& call) {
  return mapped(call, [](float x) { return std::tan(x); });
}

// The index of the largest (smallest) element along an axis.
template <bool kLargest>
Outputs arg_extreme(const Call& call) {
  const HostTensor& x = call.input(0);
  const int64_t axis = normal_axis(call, call.node.integer("axis", 0), x.rank());
  const bool last = call.node.integer("select_last_index", 0) != 0;
  const int64_t size = x.shape[at(axis)];
  if (size == 0) call.fail("searches an empty axis");
  const int64_t outer = element_count({x.shape.begin(), x.shape.begin() + axis});
  const int64_t inner = element_count({x.shape.begin() + axis + 1, x.shape.end()});
  Shape shape = x.shape;
  shape[at(axis)] = 1;
  if (call.node.integer("keepdims", 1) == 0) shape.erase(shape.begin() + axis);
  HostTensor y = HostTensor::make(ElementType::i64, shape);
  const auto before = [&](int64_t a, int64_t b) {
    if (x.is_integer()) return kLargest ? x.i[at(a)] > x.i[at(b)] : x.i[at(a)] < x.i[at(b)];
    return kLargest ? x.f[at(a)] > x.f[at(b)] : x.f[at(a)] < x.f[at(b)];
  };
  for (int64_t o = 0; o < outer; ++o) {
    for (int64_t i = 0; i < inner; ++i) {
      const auto place = [&](int64_t k) { return (o * size + k) * inner + i; };
      int64_t best = 0;
      for (int64_t k = 1; k < size; ++k) {
        if (before(place(k), place(best)) || (last && !before(place(best), place(k)))) best = k;
      }
      y.i[at(o * inner + i)] = best;
    }
  }
  return {std::move(y)};
}

// indices, depth, values [off, on]
Outputs one_hot(const Call& call) {
  const HostTensor &indices = call.input(0), &depths = call.input(1), &values = call.input(2);
  const auto whole = [&](const HostTensor& tensor, size_t k) {
    return tensor.is_integer() ? tensor.i.at(k) : static_cast<int64_t>(tensor.f.at(k));
  };
  if (depths.elements() != 1 || values.elements() != 2) call.fail("needs a depth and two values");
  const int64_t depth = whole(depths, 0);
  const int64_t axis = normal_axis(call, call.node.integer("axis", -1), indices.rank() + 1);
  Shape shape = indices.shape;
  shape.insert(shape.begin() + axis, depth);
  HostTensor y = HostTensor::make(values.type, shape);
  const int64_t inner = element_count({indices.shape.begin() + axis, indices.shape.end()});
  for (int64_t flat = 0; flat < y.elements(); ++flat) {
    const int64_t level = flat / inner % depth;
    int64_t index = whole(indices, at(flat / (inner * depth) * inner + flat % inner));
    if (index < 0) index += depth;
    const size_t choice = index == level ? 1 : 0;
    if (y.is_integer())
      y.i[at(flat)] = values.i[choice];
    else
      y.f[at(flat)] = values.f[choice];
  }
  return {std::move(y)};
}

// data, pads, value?, axes?; the constant mode only
Outputs pad(const Call& call) {
  const HostTensor& x = call.input(0);
  if (call.node.text("mode", "constant") != "constant") {
    call.fail("pads in the mode " + call.node.text("mode", "") + ", which is unsupported");
  }
  const std::vector<int64_t> pads = call.integers(1, "pads");
  std::vector<int64_t> axes(x.shape.size());
  std::iota(axes.begin(), axes.end(), 0);
  axes = call.integers(3, "axes", axes);
  if (pads.size() != 2 * axes.size()) call.fail("has another number of pads than of axes");
  Shape shape = x.shape, before(x.shape.size(), 0);
  for (size_t k = 0; k < axes.size(); ++k) {
    const auto d = at(normal_axis(call, axes[k], x.rank()));
    constexpr int64_t kMost = int64_t{1} << 31;
    if (std::abs(pads[k]) > kMost || std::abs(pads[k + axes.size()]) > kMost) {
      call.fail("pads beyond every size");
    }
    before[d] = pads[k];
    shape[d] += pads[k] + pads[k + axes.size()];
  }
  HostTensor y = HostTensor::make(x.type, shape);
  if (call.has(2) && call.input(2).elements() == 1) {
    if (y.is_integer())
      y.i.assign(y.i.size(), call.input(2).i.at(0));
    else
      y.f.assign(y.f.size(), call.input(2).f.at(0));
  }
  const Shape strides = row_major_strides(x.shape);
  for (int64_t flat = 0; flat < y.elements(); ++flat) {
    int64_t rest = flat, from = 0;
    bool inside = true;
    for (size_t d = shape.size(); d-- > 0;) {
      const int64_t place = rest % shape[d] - before[d];
      rest /= shape[d];
      inside = inside && place >= 0 && place < x.shape[d];
      from += place * strides[d];
    }
    if (!inside) continue;
    if (y.is_integer())
      y.i[at(flat)] = x.i[at(from)];
    else
      y.f[at(flat)] = x.f[at(from)];
  }
  return {std::move(y)};
}

template <typename Fn>
Outputs bitwise(const Call& call, Fn fn) {
  const HostTensor &a = call.input(0), &b = call.input(1);
  if (!a.is_integer() || !b.is_integer()) call.fail("needs integers");
  HostTensor y = HostTensor::make(a.type, broadcast_shapes(call, {a.shape, b.shape}));
  for_each_element(
      y.shape, std::array{broadcast_strides(a.shape, y.shape), broadcast_strides(b.shape, y.shape)},
      [&](int64_t k, const auto& in) {
        y.i[at(k)] = wrap_integer(y.type, fn(a.i[at(in[0])], b.i[at(in[1])]));
      });
  return {std::move(y)};
}

Outputs bitwise_not(const Call& call) {
  HostTensor y = call.input(0);
  if (!y.is_integer()) call.fail("needs integers");
  for (int64_t& x : y.i) x = wrap_integer(y.type, ~x);
  return {std::move(y)};
}

Outputs log_softmax(const Call& call) {
  if (call.opset < 13) call.fail("of an operator set before 13 is unsupported");
  HostTensor y = call.input(0);
  if (y.is_integer()) call.fail("needs a float input");
  const int64_t axis = normal_axis(call, call.node.integer("axis", -1), y.rank());
  const int64_t size = y.shape[at(axis)];
  const int64_t outer = element_count({y.shape.begin(), y.shape.begin() + axis});
  const int64_t inner = element_count({y.shape.begin() + axis + 1, y.shape.end()});
  for (int64_t line = 0; line < outer * inner; ++line) {
    const auto value = [&](int64_t k) -> float& {
      return y.f[at((line / inner * size + k) * inner + line % inner)];
    };
    double most = -HUGE_VAL, sum = 0;
    for (int64_t k = 0; k < size; ++k) most = std::max(most, static_cast<double>(value(k)));
    for (int64_t k = 0; k < size; ++k) sum += std::exp(static_cast<double>(value(k)) - most);
    for (int64_t k = 0; k < size; ++k) {
      value(k) = static_cast<float>(static_cast<double>(value(k)) - most - std::log(sum));
    }
  }
  return {std::move(y)};
}

// [rank, count]: the indices of what is not zero.
Outputs non_zero(const Call& call) {
  const HostTensor& x = call.input(0);
  std::vector<int64_t> found;
  for (int64_t i = 0; i < x.elements(); ++i) {
    if (x.is_integer() ? x.i[at(i)] != 0 : x.f[at(i)] != 0.0f) found.push_back(i);
  }
  const auto count = static_cast<int64_t>(found.size());
  HostTensor y = HostTensor::make(ElementType::i64, {x.rank(), count});
  const Shape strides = row_major_strides(x.shape);
  for (int64_t d = 0; d < x.rank(); ++d) {
    for (int64_t k = 0; k < count; ++k) {
      y.i[at(d * count + k)] = found[at(k)] / strides[at(d)] % x.shape[at(d)];
    }
  }
  return {std::move(y)};
}

HostTensor last_two_swapped(const HostTensor& x) {
  HostTensor y = HostTensor::make(x.type, x.shape);
  const int64_t rows = x.shape[at(x.rank() - 2)], columns = x.shape.back();
  std::swap(y.shape[at(x.rank() - 2)], y.shape.back());
  for (int64_t i = 0; i < x.elements(); ++i) {
    const int64_t matrix = i / (rows * columns), row = i / columns % rows, column = i % columns;
    y.f[at(matrix * rows * columns + column * rows + row)] = x.f[at(i)];
  }
  return y;
}

// [rows, batch.., columns] -> [batch.., rows, columns]
HostTensor batch_first(const HostTensor& x) {
  HostTensor y = HostTensor::make(x.type, x.shape);
  if (x.rank() < 3 || x.elements() == 0) return x;
  std::rotate(y.shape.begin(), y.shape.begin() + 1, y.shape.end() - 1);
  const int64_t rows = x.shape[0], columns = x.shape.back();
  const int64_t batches = x.elements() / (rows * columns);
  for (int64_t i = 0; i < x.elements(); ++i) {
    const int64_t row = i / (batches * columns), batch = i / columns % batches;
    y.f[at((batch * rows + row) * columns + i % columns)] = x.f[at(i)];
  }
  return y;
}

Outputs fused_matmul(const Call& call) {
  HostTensor a = call.input(0), b = call.input(1);
  if (a.is_integer() || b.is_integer()) call.fail("needs float inputs");
  if (call.node.integer("transBatchA", 0) != 0) a = batch_first(a);
  if (call.node.integer("transBatchB", 0) != 0) b = batch_first(b);
  if (call.node.integer("transA", 0) != 0 && a.rank() >= 2) a = last_two_swapped(a);
  if (call.node.integer("transB", 0) != 0 && b.rank() >= 2) b = last_two_swapped(b);
  ir::Node plain;
  plain.name = call.node.name;
  plain.op = "MatMul";
  Outputs out = standard_registry().find("", "MatMul")(Call{plain, {&a, &b}, call.opset});
  const float alpha = call.node.real("alpha", 1.0f);
  for (float& x : out[0].f) x *= alpha;
  return out;
}

}  // namespace

void register_extras(Registry& r) {
  r.add("", "Swish", swish);
  r.add("", "Elu", elu);
  r.add("", "LeakyRelu", leaky_relu);
  r.add("", "HardSigmoid", hard_sigmoid);
  r.add("", "HardSwish", hard_swish);
  r.add("", "Mish", mish);
  r.add("", "Round", round_even);
  r.add("", "Tan", tangent);
  r.add("", "LogSoftmax", log_softmax);
  r.add("", "ArgMax", arg_extreme<true>);
  r.add("", "ArgMin", arg_extreme<false>);
  r.add("", "OneHot", one_hot);
  r.add("", "NonZero", non_zero);
  r.add("", "Pad", pad);
  r.add("", "BitwiseAnd",
        [](const Call& call) { return bitwise(call, [](int64_t a, int64_t b) { return a & b; }); });
  r.add("", "BitwiseOr",
        [](const Call& call) { return bitwise(call, [](int64_t a, int64_t b) { return a | b; }); });
  r.add("", "BitwiseXor",
        [](const Call& call) { return bitwise(call, [](int64_t a, int64_t b) { return a ^ b; }); });
  r.add("", "BitwiseNot", bitwise_not);
  r.add("com.microsoft", "FusedMatMul", fused_matmul);
}

}  // namespace pocket::reference
