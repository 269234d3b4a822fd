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

int64_t width_of(const Call& call, const HostTensor& x) {
  if (x.shape.empty() || x.shape.back() <= 0 || x.is_integer()) {
    call.fail("needs rows of floats");
  }
  return x.shape.back();
}

constexpr int64_t kChunk = 1024;
using Chunk = Eigen::Array<float, kChunk, 1>;

// `f` over chunks that lie at one alignment wherever the values do: the exponential of a packet and
// that of a single value may differ in their last bit.
template <typename F>
void in_chunks(std::vector<float>& values, F f) {
  Chunk chunk = Chunk::Zero();
  for (auto at = values.begin(); at != values.end();) {
    const auto count = std::min<ptrdiff_t>(kChunk, values.end() - at);
    std::copy_n(at, count, chunk.data());
    chunk = f(chunk).eval();
    at = std::copy_n(chunk.data(), count, at);
  }
}

template <typename F>
void each(std::vector<float>& values, F f) {
  for (float& value : values) value = f(value);
}

void activate(const Call& call, const std::string& function, std::vector<float>& values) {
  if (function == "none") return;
  if (function == "relu") return each(values, [](float x) { return std::max(x, 0.0f); });
  if (function == "silu") {
    return in_chunks(values, [](const Chunk& x) -> Chunk { return x / (1.0f + (-x).exp()); });
  }
  if (function == "sigmoid") {
    return in_chunks(values, [](const Chunk& x) -> Chunk { return 1.0f / (1.0f + (-x).exp()); });
  }
  if (function == "quick_gelu") {
    return in_chunks(values,
                     [](const Chunk& x) -> Chunk { return x / (1.0f + (-1.702f * x).exp()); });
  }
  if (function == "tanh") return each(values, [](float x) { return std::tanh(x); });
  if (function == "relu_square") {
    return each(values, [](float x) { return std::max(x, 0.0f) * std::max(x, 0.0f); });
  }
  if (function == "gelu_erf") {
    return each(values, [](float x) {
      return 0.5f * x * (1.0f + std::erf(x / std::numbers::sqrt2_v<float>));
    });
  }
  if (function == "gelu_tanh") {  // (1 + tanh(y)) / 2 = 1 / (1 + exp(-2 y))
    static constexpr float kFactor =
        -2.0f * std::numbers::sqrt2_v<float> * std::numbers::inv_sqrtpi_v<float>;
    return in_chunks(values, [](const Chunk& x) -> Chunk {
      return x / (1.0f + (kFactor * (x + 0.044715f * x * x * x)).exp());
    });
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

// x W^T + bias, with W made of inputs [first, first + count).
HostTensor multiply(const Call& call, const HostTensor& x, size_t first, size_t count,
                    const HostTensor* bias) {
  const WeightSource weight = weight_of(call, first, count);
  const int64_t columns = width_of(call, x);
  if (weight.columns() != columns) call.fail("has a weight whose columns do not fit its rows");
  if (bias != nullptr && bias->elements() != weight.rows()) call.fail("has a bias of another size");
  Shape shape = x.shape;
  shape.back() = weight.rows();
  HostTensor y = HostTensor::make(ElementType::f32, shape);
  const int64_t lines = x.elements() / columns;
  const ConstRows in(x.f.data(), lines, columns);
  Rows out(y.f.data(), lines, weight.rows());
  const bool codes = multiply_codes(call, x, weight, first, y);
  int64_t at = 0;
  for (const WeightPart& part : weight.parts()) {  // as they lie, without a copy
    if (codes) break;
    const auto* stored = reinterpret_cast<const float*>(part.data.bytes);
    auto to = out.middleCols(at, part.rows);
    if (part.transposed) {
      const ConstRows whole(stored, columns, part.data.shape.back());
      to.noalias() = in * whole.middleCols(part.first_row, part.rows);
    } else {
      const ConstRows rows(stored + part.first_row * columns, part.rows, columns);
      to.noalias() = in * rows.transpose();
    }
    if (part.factor != 1.0f) to *= part.factor;
    at += part.rows;
  }
  if (bias != nullptr) {
    out.rowwise() += Eigen::Map<const Eigen::RowVectorXf>(bias->f.data(), weight.rows());
  }
  return y;
}

void add_same_shape(const Call& call, HostTensor& to, const HostTensor& from) {
  if (to.shape != from.shape) call.fail("adds a residual of another shape");
  const auto count = static_cast<Eigen::Index>(to.f.size());
  Eigen::Map<Eigen::ArrayXf>(to.f.data(), count) +=
      Eigen::Map<const Eigen::ArrayXf>(from.f.data(), count);
}

std::vector<HostTensor> linear(const Call& call) {
  if (call.inputs.size() < 4) call.fail("lacks its weight");
  HostTensor y = multiply(call, call.input(0), 3, call.inputs.size() - 3,
                          call.has(1) ? &call.input(1) : nullptr);
  activate(call, call.node.text("activation", "none"), y.f);
  if (call.has(2)) add_same_shape(call, y, call.input(2));
  return {std::move(y)};
}

std::vector<HostTensor> gated_linear(const Call& call) {
  if (call.inputs.size() != 5) call.fail("needs five inputs");
  const HostTensor& x = call.input(0);
  HostTensor gate = multiply(call, x, 3, 1, call.has(1) ? &call.input(1) : nullptr);
  const HostTensor up = multiply(call, x, 4, 1, call.has(2) ? &call.input(2) : nullptr);
  if (gate.shape != up.shape) call.fail("has a gate of another width");
  activate(call, call.node.text("activation", "none"), gate.f);
  const auto count = static_cast<Eigen::Index>(gate.f.size());
  Eigen::Map<Eigen::ArrayXf>(gate.f.data(), count) *=
      Eigen::Map<const Eigen::ArrayXf>(up.f.data(), count);
  return {std::move(gate)};
}

std::vector<HostTensor> activation(const Call& call) {
  HostTensor y = call.input(0);
  activate(call, call.node.text("function", "none"), y.f);
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
  Eigen::ArrayXd row(width), scale = Eigen::ArrayXd::Ones(width), shift = Eigen::ArrayXd::Zero(width);
  using Vector = Eigen::Map<const Eigen::ArrayXf>;
  if (call.has(1)) scale = Vector(call.input(1).f.data(), width).cast<double>();
  if (call.has(2)) shift = Vector(call.input(2).f.data(), width).cast<double>();
  for (int64_t start = 0; start < sum.elements(); start += width) {
    Eigen::Map<Eigen::ArrayXf> values(y.f.data() + start, width);
    row = values.cast<double>();
    if (centred) row -= row.mean();
    const double factor = 1.0 / std::sqrt(row.square().mean() + epsilon);
    values = (row * factor * scale + shift).cast<float>();
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
