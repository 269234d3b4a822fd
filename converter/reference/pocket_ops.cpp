#include "converter/reference/pocket_ops.h"

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "converter/lower/weight_source.h"
#include "converter/reference/w8a8.h"

namespace pocket::reference {

// In pocket_ops_attention.cpp.
std::vector<HostTensor> rotary_embedding(const Call&);
std::vector<HostTensor> attention(const Call&);

namespace {

using RowMajor = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Rows = Eigen::Map<RowMajor>;
using ConstRows = Eigen::Map<const RowMajor>;

constexpr int64_t kRowsAtOnce = 256;  // of a weight, so that a large one is never whole in memory

int64_t width_of(const Call& call, const HostTensor& x) {
  if (x.shape.empty() || x.shape.back() <= 0 || x.is_integer()) {
    call.fail("needs rows of floats");
  }
  return x.shape.back();
}

float activate(const Call& call, const std::string& function, float x) {
  if (function == "none") return x;
  if (function == "relu") return std::max(x, 0.0f);
  if (function == "silu") return x / (1.0f + std::exp(-x));
  if (function == "sigmoid") return 1.0f / (1.0f + std::exp(-x));
  if (function == "quick_gelu") return x / (1.0f + std::exp(-1.702f * x));
  if (function == "tanh") return std::tanh(x);
  if (function == "relu_square") return std::max(x, 0.0f) * std::max(x, 0.0f);
  if (function == "gelu_erf") {
    return 0.5f * x * (1.0f + std::erf(x / std::numbers::sqrt2_v<float>));
  }
  if (function == "gelu_tanh") {
    const float inner = std::sqrt(2.0f / std::numbers::pi_v<float>) * (x + 0.044715f * x * x * x);
    return 0.5f * x * (1.0f + std::tanh(inner));
  }
  call.fail("has the unknown function " + function);
}

// The weight made of inputs [first, first + count).
WeightSource weight_of(const Call& call, size_t first, size_t count) {
  const std::vector<int64_t> transposed = call.node.integers("transposed");
  const std::vector<int64_t> first_row = call.node.integers("first_row");
  const std::vector<int64_t> rows = call.node.integers("rows");
  std::vector<float> factors;
  if (const auto given = call.node.attributes.find("factors");
      given != call.node.attributes.end()) {
    factors = std::get<std::vector<float>>(given->second);
    if (factors.size() != rows.size()) call.fail("has factors of another number than weights");
  }
  std::vector<WeightPart> parts;
  for (size_t i = first; i < first + count; ++i) {
    const size_t part = i - 3;
    if (part >= transposed.size() || part >= first_row.size() || part >= rows.size()) {
      call.fail("lacks the layout of a weight");
    }
    const HostTensor& held = call.input(i);
    ir::TensorData data;  // a view: the tensor outlives the call
    data.shape = held.shape;
    data.bytes = reinterpret_cast<const std::byte*>(held.f.data());
    data.byte_size = held.f.size() * sizeof(float);
    parts.push_back({std::move(data), transposed[part] != 0, first_row[part], rows[part],
                     factors.empty() ? 1.0f : factors[part]});
  }
  return WeightSource(std::move(parts));
}

// x W^T + bias, one tile of weight rows after the other.
HostTensor multiply(const Call& call, const HostTensor& x, const WeightSource& weight,
                    const HostTensor* bias, int64_t first_scale = 0) {
  const int64_t columns = width_of(call, x);
  if (weight.columns() != columns) call.fail("has a weight whose columns do not fit its rows");
  if (bias != nullptr && bias->elements() != weight.rows()) call.fail("has a bias of another size");
  Shape shape = x.shape;
  shape.back() = weight.rows();
  HostTensor y = HostTensor::make(ElementType::f32, shape);
  const int64_t count = x.elements() / columns;
  const ConstRows in(x.f.data(), count, columns);
  Rows out(y.f.data(), count, weight.rows());
  std::vector<float> tile;
  const bool codes = multiply_codes(call, x, weight, first_scale, y);
  for (int64_t first = 0; first < weight.rows() && !codes; first += kRowsAtOnce) {
    const int64_t rows = std::min(kRowsAtOnce, weight.rows() - first);
    tile.resize(static_cast<size_t>(rows * columns));
    weight.read_rows(first, rows, tile.data());
    out.middleCols(first, rows).noalias() = in * ConstRows(tile.data(), rows, columns).transpose();
  }
  if (bias != nullptr) {
    out.rowwise() += Eigen::Map<const Eigen::RowVectorXf>(bias->f.data(), weight.rows());
  }
  return y;
}

void add_same_shape(const Call& call, HostTensor& to, const HostTensor& from) {
  if (to.shape != from.shape) call.fail("adds a residual of another shape");
  for (size_t i = 0; i < to.f.size(); ++i) to.f[i] += from.f[i];
}

std::vector<HostTensor> linear(const Call& call) {
  if (call.inputs.size() < 4) call.fail("lacks its weight");
  const WeightSource weight = weight_of(call, 3, call.inputs.size() - 3);
  HostTensor y = multiply(call, call.input(0), weight, call.has(1) ? &call.input(1) : nullptr);
  const std::string function = call.node.text("activation", "none");
  for (float& value : y.f) value = activate(call, function, value);
  if (call.has(2)) add_same_shape(call, y, call.input(2));
  return {std::move(y)};
}

std::vector<HostTensor> gated_linear(const Call& call) {
  if (call.inputs.size() != 5) call.fail("needs five inputs");
  const HostTensor& x = call.input(0);
  HostTensor gate =
      multiply(call, x, weight_of(call, 3, 1), call.has(1) ? &call.input(1) : nullptr);
  const HostTensor up = multiply(call, x, weight_of(call, 4, 1),
                                 call.has(2) ? &call.input(2) : nullptr, gate.shape.back());
  if (gate.shape != up.shape) call.fail("has a gate of another width");
  const std::string function = call.node.text("activation", "none");
  for (size_t i = 0; i < gate.f.size(); ++i) {
    gate.f[i] = activate(call, function, gate.f[i]) * up.f[i];
  }
  return {std::move(gate)};
}

std::vector<HostTensor> activation(const Call& call) {
  HostTensor y = call.input(0);
  const std::string function = call.node.text("function", "none");
  for (float& value : y.f) value = activate(call, function, value);
  return {std::move(y)};
}

std::vector<HostTensor> norm(const Call& call) {
  HostTensor sum = call.input(0);
  if (call.has(3)) add_same_shape(call, sum, call.input(3));
  const int64_t width = width_of(call, sum);
  const bool centred = call.node.text("kind", "rms") == "layer";
  const auto epsilon = static_cast<double>(call.node.real("epsilon", 1e-5f));
  for (const size_t vector : {size_t{1}, size_t{2}}) {
    if (call.has(vector) && call.input(vector).elements() != width) {
      call.fail("has a vector of another width");
    }
  }
  HostTensor y = sum;
  for (int64_t start = 0; start < sum.elements(); start += width) {
    float* row = y.f.data() + start;
    double mean = 0, square = 0;
    for (int64_t i = 0; i < width && centred; ++i) mean += static_cast<double>(row[i]);
    mean /= static_cast<double>(width);
    for (int64_t i = 0; i < width; ++i) {
      const double x = static_cast<double>(row[i]) - mean;
      square += x * x;
    }
    const double factor = 1.0 / std::sqrt(square / static_cast<double>(width) + epsilon);
    for (int64_t i = 0; i < width; ++i) {
      const auto at = static_cast<size_t>(i);
      double x = (static_cast<double>(row[i]) - mean) * factor;
      if (call.has(1)) x *= static_cast<double>(call.input(1).f[at]);
      if (call.has(2)) x += static_cast<double>(call.input(2).f[at]);
      row[i] = static_cast<float>(x);
    }
  }
  return {std::move(y), std::move(sum)};
}

std::vector<HostTensor> embed(const Call& call) {
  const bool alone = !call.has(1);  // learned positions without the tokens' rows
  const HostTensor& rows = call.input(alone ? 3 : 0);
  const HostTensor& table = call.input(alone ? 2 : 1);
  if (!rows.is_integer() || table.rank() != 2) call.fail("needs ids and a table");
  const int64_t width = width_of(call, table);
  const auto scale = call.node.real("scale", 1.0f);
  Shape shape = rows.shape;
  shape.push_back(width);
  HostTensor y = HostTensor::make(ElementType::f32, shape);
  const auto add_row = [&](const HostTensor& from, int64_t row, float factor, size_t at) {
    if (row < 0 || row >= from.shape[0]) {
      call.fail("looks up row " + std::to_string(row) + " of a table of " +
                std::to_string(from.shape[0]));
    }
    for (int64_t i = 0; i < width; ++i) {
      y.f[at + static_cast<size_t>(i)] += factor * from.f[static_cast<size_t>(row * width + i)];
    }
  };
  for (size_t t = 0; t < rows.i.size(); ++t) {
    const size_t at = t * static_cast<size_t>(width);
    if (!alone) add_row(table, rows.i[t], scale, at);
    if (!call.has(2)) continue;
    const HostTensor& positions = call.input(3);
    if (positions.i.size() != rows.i.size() || call.input(2).rank() != 2 ||
        call.input(2).shape[1] != width) {
      call.fail("has positions of another shape");
    }
    add_row(call.input(2), positions.i[t], 1.0f, at);
  }
  return {std::move(y)};
}

std::vector<HostTensor> select_rows(const Call& call) { return {call.input(0)}; }

std::vector<HostTensor> choose(const Call& call) {
  const HostTensor& condition = call.input(0);
  if (condition.elements() != 1 || !condition.is_integer()) call.fail("needs one condition");
  const HostTensor &a = call.input(1), &b = call.input(2);
  if (a.is_integer() || b.is_integer() || a.shape.empty() || a.rank() != b.rank() ||
      !std::equal(a.shape.begin() + 1, a.shape.end(), b.shape.begin() + 1)) {
    call.fail("needs tables of floats that differ in their rows alone");
  }
  HostTensor y = condition.i[0] != 0 ? a : b;
  y.shape[0] = std::max(a.shape[0], b.shape[0]);
  y.f.resize(std::max(a.f.size(), b.f.size()), std::numeric_limits<float>::quiet_NaN());
  return {std::move(y)};
}

}  // namespace

void register_pocket_ops(Registry& registry) {
  registry.add("pocket", "Embed", embed);
  registry.add("pocket", "Choose", choose);
  registry.add("pocket", "Norm", norm);
  registry.add("pocket", "Linear", linear);
  registry.add("pocket", "GatedLinear", gated_linear);
  registry.add("pocket", "Activation", activation);
  registry.add("pocket", "RotaryEmbedding", rotary_embedding);
  registry.add("pocket", "Attention", attention);
  registry.add("pocket", "SelectRows", select_rows);
}

}  // namespace pocket::reference
