// ONNX Runtime's fused norms and activations (domain com.microsoft), from their documentation: the
// oracle for the expansions of converter/onnx/expand_*.cpp.
#include <cmath>

#include "converter/reference/broadcast.h"
#include "converter/reference/operators.h"

namespace pocket::reference {

namespace {

using Outputs = std::vector<HostTensor>;

void add_broadcast(const Call& call, HostTensor& to, const HostTensor& from) {
  if (from.is_integer() || broadcast_shapes(call, {from.shape, to.shape}) != to.shape) {
    call.fail("adds a tensor that does not fit its input");
  }
  for_each_element(to.shape, std::array{broadcast_strides(from.shape, to.shape)},
                   [&](int64_t i, const auto& in) { to.f[at(i)] += from.f[at(in[0])]; });
}

const std::vector<float>& vector_of(const Call& call, size_t index, int64_t width) {
  if (call.input(index).is_integer() || call.input(index).elements() != width) {
    call.fail("needs a vector of " + std::to_string(width) + " floats in its input " +
              std::to_string(index));
  }
  return call.input(index).f;
}

struct Normalised {
  HostTensor y, mean, inverse;
};

// Over the last axis; `scale` and `shift` may be null.
Normalised normalise(const Call& call, const HostTensor& x, bool centred,
                     const std::vector<float>& scale, const std::vector<float>* shift,
                     double epsilon) {
  if (x.is_integer() || x.shape.empty() || x.shape.back() < 1) call.fail("needs rows of floats");
  Shape statistics = x.shape;
  statistics.back() = 1;
  Normalised out{x, HostTensor::make(ElementType::f32, statistics),
                 HostTensor::make(ElementType::f32, statistics)};
  const int64_t width = x.shape.back();
  for (int64_t row = 0; row < out.mean.elements(); ++row) {
    float* values = out.y.f.data() + row * width;
    double mean = 0, square = 0;
    for (int64_t i = 0; i < width && centred; ++i) mean += static_cast<double>(values[i]);
    mean /= static_cast<double>(width);
    for (int64_t i = 0; i < width; ++i) {
      const double difference = static_cast<double>(values[i]) - mean;
      square += difference * difference;
    }
    const double inverse = 1.0 / std::sqrt(square / static_cast<double>(width) + epsilon);
    for (int64_t i = 0; i < width; ++i) {
      const double unit = (static_cast<double>(values[i]) - mean) * inverse;
      values[i] = static_cast<float>(unit * static_cast<double>(scale[at(i)]) +
                                     (shift != nullptr ? static_cast<double>((*shift)[at(i)]) : 0));
    }
    out.mean.f[at(row)] = static_cast<float>(mean);
    out.inverse.f[at(row)] = static_cast<float>(inverse);
  }
  return out;
}

Outputs skip_norm(const Call& call, bool centred) {
  const size_t bias = centred ? 4 : 3;
  HostTensor sum = call.input(0);
  add_broadcast(call, sum, call.input(1));
  if (call.has(bias)) add_broadcast(call, sum, call.input(bias));
  const int64_t width = sum.shape.empty() ? 0 : sum.shape.back();
  const std::vector<float>& scale = vector_of(call, 2, width);
  const std::vector<float>* shift = nullptr;
  if (centred && call.has(3)) shift = &vector_of(call, 3, width);
  Normalised made = normalise(call, sum, centred, scale, shift,
                              static_cast<double>(call.node.real("epsilon", 1e-12f)));
  return {std::move(made.y), std::move(made.mean), std::move(made.inverse), std::move(sum)};
}

void add_rows(const Call& call, HostTensor& to, size_t table_index,
              const std::vector<int64_t>& ids) {
  const HostTensor& table = call.input(table_index);
  const int64_t width = to.shape.back();
  if (table.is_integer() || table.rank() != 2 || table.shape[1] != width) {
    call.fail("has tables of different widths");
  }
  for (size_t row = 0; row < ids.size(); ++row) {
    if (ids[row] < 0 || ids[row] >= table.shape[0]) {
      call.fail("looks up row " + std::to_string(ids[row]) + " of a table of " +
                std::to_string(table.shape[0]));
    }
    for (int64_t i = 0; i < width; ++i) {
      to.f[row * at(width) + at(i)] += table.f[at(ids[row] * width + i)];
    }
  }
}

Outputs embed_norm(const Call& call) {
  const HostTensor &ids = call.input(0), &words = call.input(2);
  if (!ids.is_integer() || ids.rank() != 2 || words.rank() != 2) {
    call.fail("needs a matrix of ids and a table");
  }
  const int64_t length = ids.shape[1];
  std::vector<int64_t> positions(ids.i.size());
  for (size_t i = 0; i < positions.size(); ++i) {
    positions[i] = static_cast<int64_t>(i) % std::max<int64_t>(length, 1);
  }
  if (call.has(8)) {
    const HostTensor& given = call.input(8);
    if (!given.is_integer() || given.rank() != 2 || given.shape[1] != length) {
      call.fail("has positions of another shape");
    }
    for (size_t i = 0; i < positions.size(); ++i) positions[i] = given.i[i % given.i.size()];
  }
  HostTensor sum = HostTensor::make(words.type, {ids.shape[0], length, words.shape[1]});
  add_rows(call, sum, 2, ids.i);
  add_rows(call, sum, 3, positions);
  if (call.has(4)) {
    if (!call.has(1) || call.input(1).shape != ids.shape) call.fail("lacks its segment ids");
    add_rows(call, sum, 4, call.input(1).i);
  }
  const int64_t width = words.shape[1];
  Normalised made =
      normalise(call, sum, true, vector_of(call, 5, width), &vector_of(call, 6, width),
                static_cast<double>(call.node.real("epsilon", 1e-12f)));
  HostTensor mask_index = HostTensor::make(ElementType::i32, {ids.shape[0]});
  if (call.has(7)) {
    if (call.input(7).shape != ids.shape) call.fail("has a mask of another shape");
    for (size_t i = 0; i < ids.i.size(); ++i) {
      mask_index.i[i / at(length)] += call.input(7).i[i];
    }
  }
  return {std::move(made.y), std::move(mask_index), std::move(sum)};
}

Outputs bias_gelu(const Call& call) {
  HostTensor y = call.input(0);
  add_broadcast(call, y, call.input(1));
  for (float& x : y.f) x = 0.5f * x * (1.0f + std::erf(x * 0.70710678118654752440f));
  return {std::move(y)};
}

}  // namespace

void register_fused_norm(Registry& r) {
  r.add("com.microsoft", "SkipLayerNormalization",
        [](const Call& call) { return skip_norm(call, true); });
  r.add("com.microsoft", "SkipSimplifiedLayerNormalization",
        [](const Call& call) { return skip_norm(call, false); });
  r.add("com.microsoft", "EmbedLayerNormalization", embed_norm);
  r.add("com.microsoft", "BiasGelu", bias_gelu);
}

}  // namespace pocket::reference
