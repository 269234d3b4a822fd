// Operators that run along an axis: reductions, softmax, running sums, norms. Sums are kept in
// double, so that the oracle's own rounding stays below that of whatever it judges.
#include <algorithm>
#include <cmath>
#include <limits>

#include "converter/reference/broadcast.h"
#include "converter/reference/operators.h"

namespace pocket::reference {

namespace {

using Outputs = std::vector<HostTensor>;

const HostTensor& float_input(const Call& call, size_t index) {
  if (call.input(index).is_integer()) call.fail("needs float inputs");
  return call.input(index);
}

// Which dimensions a Reduce operator removes; none at all means identity when so attributed.
std::vector<bool> reduced_axes(const Call& call, int64_t rank) {
  const std::vector<int64_t> axes = call.integers(1, "axes");
  std::vector<bool> reduced(at(rank), false);
  if (axes.empty()) {
    if (call.node.integer("noop_with_empty_axes", 0) == 0) reduced.assign(at(rank), true);
    return reduced;
  }
  for (const int64_t axis : axes) reduced[at(normal_axis(call, axis, rank))] = true;
  return reduced;
}

struct Reduction {
  Shape shape;    // of the result
  Shape strides;  // of the result along the input's dimensions: 0 where reduced
  int64_t count = 1;
};

Reduction plan_reduction(const Call& call, const Shape& input) {
  const std::vector<bool> reduced = reduced_axes(call, static_cast<int64_t>(input.size()));
  Shape kept = input;
  Reduction plan;
  for (size_t d = 0; d < input.size(); ++d) {
    if (reduced[d]) {
      plan.count *= input[d];
      kept[d] = 1;
    }
  }
  plan.strides = broadcast_strides(kept, input);
  const bool keep = call.node.integer("keepdims", 1) != 0;
  for (size_t d = 0; d < input.size(); ++d) {
    if (reduced[d]) plan.strides[d] = 0;
    if (keep || !reduced[d]) plan.shape.push_back(kept[d]);
  }
  return plan;
}

template <auto Fold>
Outputs reduce(const Call& call, double initial, bool average, int64_t integer_initial) {
  const HostTensor& x = call.input(0);
  const Reduction plan = plan_reduction(call, x.shape);
  HostTensor y = HostTensor::make(x.type, plan.shape);
  if (x.is_integer()) {
    if (average) call.fail("needs float inputs");
    y.i.assign(y.i.size(), integer_initial);
    for_each_element(x.shape, std::array{plan.strides}, [&](int64_t k, const auto& out) {
      y.i[at(out[0])] = wrap_integer(y.type, Fold(y.i[at(out[0])], x.i[at(k)]));
    });
  } else {
    std::vector<double> sums(y.f.size(), initial);
    for_each_element(x.shape, std::array{plan.strides}, [&](int64_t k, const auto& out) {
      sums[at(out[0])] = Fold(sums[at(out[0])], static_cast<double>(x.f[at(k)]));
    });
    const double scale = average ? 1.0 / static_cast<double>(plan.count) : 1.0;
    for (size_t k = 0; k < sums.size(); ++k) y.f[k] = static_cast<float>(sums[k] * scale);
  }
  return {std::move(y)};
}

constexpr auto kAdd = [](auto a, auto b) {
  if constexpr (std::is_integral_v<decltype(a)>) {
    return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
  } else {
    return a + b;
  }
};
constexpr auto kMul = [](auto a, auto b) {
  if constexpr (std::is_integral_v<decltype(a)>) {
    return static_cast<int64_t>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
  } else {
    return a * b;
  }
};
constexpr auto kMax = [](auto a, auto b) { return std::max(a, b); };
constexpr auto kMin = [](auto a, auto b) { return std::min(a, b); };
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// The least and the largest value of an integer type: what an empty maximum or minimum gives.
std::pair<int64_t, int64_t> integer_limits(ElementType type) {
  if (type == ElementType::boolean) return {0, 1};
  if (!ir::is_integer_type(type)) return {0, 0};
  const bool is_unsigned = type == ElementType::u4 || type == ElementType::u8 ||
                           type == ElementType::u16 || type == ElementType::u32 ||
                           type == ElementType::u64;
  const auto bits = ir::element_bits(type);
  const auto most =
      static_cast<int64_t>(~uint64_t{0} >> (is_unsigned && bits < 64 ? 64 - bits : 65 - bits));
  return {is_unsigned ? 0 : -most - 1, most};
}

Outputs reduce_mean(const Call& call) { return reduce<kAdd>(call, 0.0, true, 0); }
Outputs reduce_sum(const Call& call) { return reduce<kAdd>(call, 0.0, false, 0); }
Outputs reduce_prod(const Call& call) { return reduce<kMul>(call, 1.0, false, 1); }
Outputs reduce_sum_square(const Call& call) {
  HostTensor squared = float_input(call, 0);
  for (float& x : squared.f) x *= x;
  Call inner = call;
  inner.inputs[0] = &squared;
  return reduce_sum(inner);
}
Outputs reduce_l2(const Call& call) {
  Outputs out = reduce_sum_square(call);
  for (float& x : out[0].f) x = std::sqrt(x);
  return out;
}
Outputs reduce_max(const Call& call) {
  return reduce<kMax>(call, -kInfinity, false, integer_limits(call.input(0).type).first);
}
Outputs reduce_min(const Call& call) {
  return reduce<kMin>(call, kInfinity, false, integer_limits(call.input(0).type).second);
}

// Calls f(offset of the first element, step between elements) for every line along an axis.
template <typename F>
void for_each_line(const Shape& shape, int64_t axis, F f) {
  const int64_t size = shape[at(axis)];
  const int64_t outer = element_count({shape.begin(), shape.begin() + axis});
  const int64_t inner = element_count({shape.begin() + axis + 1, shape.end()});
  for (int64_t o = 0; o < outer; ++o) {
    for (int64_t i = 0; i < inner; ++i) f(o * size * inner + i, inner);
  }
}

Outputs softmax(const Call& call) {
  HostTensor y = float_input(call, 0);
  const bool flattens = call.opset > 0 && call.opset < 13;  // all axes from `axis` on are one
  const int64_t axis = normal_axis(call, call.node.integer("axis", flattens ? 1 : -1), y.rank());
  Shape lines = y.shape;
  if (flattens) {
    lines.resize(at(axis) + 1);
    lines[at(axis)] = element_count({y.shape.begin() + axis, y.shape.end()});
  }
  const int64_t size = lines[at(axis)];
  for_each_line(lines, axis, [&](int64_t base, int64_t step) {
    float largest = -std::numeric_limits<float>::infinity();
    for (int64_t k = 0; k < size; ++k) largest = std::max(largest, y.f[at(base + k * step)]);
    double sum = 0.0;
    for (int64_t k = 0; k < size; ++k) {
      float& value = y.f[at(base + k * step)];
      value = std::exp(value - largest);  // a line of -infinity gives NaN, as in ONNX
      sum += value;
    }
    for (int64_t k = 0; k < size; ++k) {
      float& value = y.f[at(base + k * step)];
      value = static_cast<float>(value / sum);
    }
  });
  return {std::move(y)};
}

Outputs cumulative_sum(const Call& call) {
  HostTensor y = call.input(0);
  const std::vector<int64_t> axis_input = call.integers(1, "axis");
  if (axis_input.size() != 1) call.fail("needs one axis");
  const int64_t axis = normal_axis(call, axis_input[0], y.rank());
  const bool exclusive = call.node.integer("exclusive", 0) != 0;
  const bool reverse = call.node.integer("reverse", 0) != 0;
  const int64_t size = y.shape[at(axis)];
  const auto accumulate = [&](auto& values, auto zero) {
    for_each_line(y.shape, axis, [&](int64_t base, int64_t step) {
      auto sum = zero;
      for (int64_t k = 0; k < size; ++k) {
        auto& value = values[at(base + (reverse ? size - 1 - k : k) * step)];
        const auto before = sum;
        sum = kAdd(sum, static_cast<decltype(sum)>(value));
        value = static_cast<std::decay_t<decltype(value)>>(exclusive ? before : sum);
      }
    });
  };
  if (y.is_integer())
    accumulate(y.i, int64_t{0});
  else
    accumulate(y.f, 0.0);
  return {std::move(y)};
}

// y = (x - mean) / sqrt(variance + epsilon) * scale + bias over the axes from `axis` on; without
// `centred` the mean is taken as 0 (root mean square). Scale and bias broadcast to all of x: heads
// that are normalised one by one may have weights of their own. Also returns mean and 1 /
// deviation.
Outputs normalise(const Call& call, bool centred) {
  HostTensor y = float_input(call, 0);
  const int64_t axis = normal_axis(call, call.node.integer("axis", -1), y.rank());
  const double epsilon = static_cast<double>(call.node.real("epsilon", 1e-5f));
  Shape statistics = y.shape;
  std::fill(statistics.begin() + axis, statistics.end(), 1);
  HostTensor means = HostTensor::make(ElementType::f32, statistics), deviations = means;
  const int64_t outer = means.elements();
  const int64_t size = element_count(Shape(y.shape.begin() + axis, y.shape.end()));
  for (int64_t o = 0; o < outer; ++o) {
    float* row = y.f.data() + o * size;
    double mean = 0.0, square = 0.0;
    if (centred) {
      for (int64_t k = 0; k < size; ++k) mean += static_cast<double>(row[k]);
      mean /= static_cast<double>(size);
    }
    for (int64_t k = 0; k < size; ++k) {
      const double difference = static_cast<double>(row[k]) - mean;
      square += difference * difference;
    }
    const double inverse = 1.0 / std::sqrt(square / static_cast<double>(size) + epsilon);
    for (int64_t k = 0; k < size; ++k) {
      row[k] = static_cast<float>((static_cast<double>(row[k]) - mean) * inverse);
    }
    means.f[at(o)] = static_cast<float>(mean);
    deviations.f[at(o)] = static_cast<float>(inverse);
  }
  const auto apply = [&](size_t index, auto combine) {
    const HostTensor& parameter = float_input(call, index);
    if (broadcast_shapes(call, {parameter.shape, y.shape}) != y.shape) {
      call.fail("has a scale or bias larger than what it normalises");
    }
    for_each_element(
        y.shape, std::array{broadcast_strides(parameter.shape, y.shape)},
        [&](int64_t i, const auto& in) { combine(y.f[at(i)], parameter.f[at(in[0])]); });
  };
  apply(1, [](float& value, float scale) { value *= scale; });
  if (centred && call.has(2)) apply(2, [](float& value, float bias) { value += bias; });
  Outputs out;
  out.push_back(std::move(y));
  if (centred) out.push_back(std::move(means));
  out.push_back(std::move(deviations));
  return out;
}

}  // namespace

void register_reduce(Registry& r) {
  r.add("", "ReduceMean", reduce_mean);
  r.add("", "ReduceSum", reduce_sum);
  r.add("", "ReduceProd", reduce_prod);
  r.add("", "ReduceSumSquare", reduce_sum_square);
  r.add("", "ReduceL2", reduce_l2);
  r.add("", "ReduceMax", reduce_max);
  r.add("", "ReduceMin", reduce_min);
  r.add("", "Softmax", softmax);
  r.add("", "CumSum", cumulative_sum);
  r.add("", "LayerNormalization", [](const Call& call) { return normalise(call, true); });
  r.add("", "RMSNormalization", [](const Call& call) { return normalise(call, false); });
  for (const char* domain : {"", "com.microsoft"}) {
    r.add(domain, "SimplifiedLayerNormalization",
          [](const Call& call) { return normalise(call, false); });
  }
}

}  // namespace pocket::reference
