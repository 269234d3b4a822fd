#include "runtime/kernels/reference_operators.h"

#include <algorithm>
#include <cmath>

#include "runtime/base/error.h"
#include "runtime/package/w8a8.h"

namespace pocket::host_reference {

int64_t Call::width(TensorId id) const {
  return program.tensors.at(static_cast<size_t>(id)).shape.back().evaluate(state.bindings);
}

int64_t Call::rows(TensorId id) const {
  const auto all = static_cast<int64_t>(tensor(id).size()) / std::max<int64_t>(1, width(id));
  return body_ ? std::min<int64_t>(all, state.record.tokens) : all;
}

std::span<float> Call::row(TensorId id, int64_t r) const {
  const auto w = static_cast<size_t>(width(id));
  return std::span(tensor(id)).subspan(static_cast<size_t>(r) * w, w);
}

std::vector<float> Call::vector(WeightId id, int64_t count, float fallback) const {
  return id == kNone ? std::vector<float>(static_cast<size_t>(count), fallback)
                     : weights(id).vector();
}

float Call::stored(TensorId id, float value) const {
  const bool half = program.tensors.at(static_cast<size_t>(id)).dtype == DType::f16;
  return half && options.round_f16 ? half_to_float(float_to_half(value)) : value;
}

void embed(const Call& call) {
  const TensorId out = call.output(0);
  const WeightId ids = call.weight(0), positions = call.weight(1);
  const auto width = static_cast<size_t>(call.width(out));
  std::vector<float> values(width), learned(width);
  for (int64_t t = 0; t < call.rows(out); ++t) {
    const int64_t position = int64_t{call.state.record.past} + t;
    const int64_t place = position + call.op.attributes.position_offset;
    const auto result = call.row(out, t);
    if (ids == kNone) {
      call.weights(positions).read(place, learned.data());
      for (size_t i = 0; i < width; ++i) result[i] = call.stored(out, learned[i]);
      continue;
    }
    const WeightRows& table = call.weights(ids);
    const int64_t id = call.state.token_ids.at(static_cast<size_t>(position));
    if (id < 0 || id >= table.rows()) {
      throw Error(ExitCode::bad_input, "token id " + std::to_string(id) + " is outside of the " +
                                           std::to_string(table.rows()) +
                                           " rows of the embedding; check the tokenizer");
    }
    table.read(id, values.data());
    if (positions != kNone) call.weights(positions).read(place, learned.data());
    for (size_t i = 0; i < width; ++i) {
      const float scaled = call.stored(out, call.op.attributes.scale * values[i]);
      result[i] = positions == kNone ? scaled : call.stored(out, scaled + learned[i]);
    }
  }
}

void norm(const Call& call) {
  const TensorId x = call.input(0), residual = call.input(1);
  const TensorId out = call.output(0), sum = call.output(1);
  const int64_t width = call.width(x);
  const std::vector<float> weight = call.vector(call.weight(0), width, 1.0f);
  const std::vector<float> bias = call.vector(call.weight(1), width, 0.0f);
  const auto n = static_cast<size_t>(width);
  std::vector<double> value(n);
  for (int64_t t = 0; t < call.rows(x); ++t) {
    double mean = 0, squares = 0;
    for (size_t i = 0; i < n; ++i) {
      value[i] = call.row(x, t)[i];
      if (residual != kNone) value[i] += call.row(residual, t)[i];
      mean += value[i] / static_cast<double>(n);
    }
    if (call.op.attributes.norm == NormKind::rms) mean = 0;
    for (const double v : value) squares += (v - mean) * (v - mean) / static_cast<double>(n);
    const double factor = 1.0 / std::sqrt(squares + call.op.attributes.epsilon);
    for (size_t i = 0; i < n; ++i) {
      if (sum != kNone) call.row(sum, t)[i] = call.stored(sum, static_cast<float>(value[i]));
      const double y = (value[i] - mean) * factor * weight[i] + bias[i];
      call.row(out, t)[i] = call.stored(out, static_cast<float>(y));
    }
  }
}

namespace {

// x W^T + bias of one matrix, row of W by row: sums in double, or as w8a8.h says.
class Product {
 public:
  Product(const Call& call, const WeightRows& matrix, TensorId x)
      : call_(call), matrix_(matrix), x_(x), columns_(static_cast<size_t>(matrix.columns())) {
    if (matrix.encoding() != Encoding::w8a8) {
      row_.resize(columns_);
      return;
    }
    codes_.resize(columns_);
    const float inverse = 1.0f / matrix.act_scale();
    for (int64_t t = 0; t < call.rows(x); ++t) {
      for (const float value : call.row(x, t)) inputs_.push_back(w8a8_quantise(value, inverse));
    }
  }

  void read(int64_t row) {
    if (codes_.empty()) return matrix_.read(row, row_.data());
    matrix_.read_codes(row, codes_.data());
    scale_ = matrix_.row_scale(row);
  }

  // Of activation row t with the row that was read.
  double at(int64_t t, float bias) const {
    if (!codes_.empty()) {
      const int8_t* input = inputs_.data() + static_cast<size_t>(t) * columns_;
      int32_t sum = 0;
      for (size_t i = 0; i < columns_; ++i) sum += int32_t{input[i]} * codes_[i];
      const float y = w8a8_result(sum, matrix_.act_scale(), scale_);
      return static_cast<double>(y + bias);
    }
    const std::span<const float> input = call_.row(x_, t);
    double sum = 0;
    for (size_t i = 0; i < columns_; ++i) sum += double{input[i]} * row_[i];
    return sum + bias;
  }

 private:
  const Call& call_;
  const WeightRows& matrix_;
  TensorId x_;
  size_t columns_;
  std::vector<float> row_;
  std::vector<int8_t> inputs_, codes_;  // w8a8: activations by row, and the row of weights
  float scale_ = 0;
};

std::vector<int64_t> wanted_columns(const Call& call, int64_t count) {
  if (!call.options.columns.empty()) return call.options.columns;
  std::vector<int64_t> all(static_cast<size_t>(count));
  for (int64_t n = 0; n < count; ++n) all[static_cast<size_t>(n)] = n;
  return all;
}

}  // namespace

void linear(const Call& call) {
  const TensorId x = call.input(0), residual = call.input(1), out = call.output(0);
  const WeightRows& matrix = call.weights(call.weight(0));
  const std::vector<float> bias = call.vector(call.weight(1), matrix.rows(), 0.0f);
  Product product(call, matrix, x);
  for (const int64_t n : wanted_columns(call, matrix.rows())) {
    product.read(n);
    const auto column = static_cast<size_t>(n);
    for (int64_t t = 0; t < call.rows(x); ++t) {
      float y = activate(call.op.attributes.activation,
                         static_cast<float>(product.at(t, bias[column])));
      if (residual != kNone) y += call.row(residual, t)[column];
      call.row(out, t)[column] = call.stored(out, y);
    }
  }
}

void gated_linear(const Call& call) {
  const TensorId x = call.input(0), out = call.output(0);
  const WeightRows& gate = call.weights(call.weight(0));
  const WeightRows& up = call.weights(call.weight(1));
  const std::vector<float> gate_bias = call.vector(call.weight(2), gate.rows(), 0.0f);
  const std::vector<float> up_bias = call.vector(call.weight(3), gate.rows(), 0.0f);
  Product gates(call, gate, x), ups(call, up, x);
  for (const int64_t n : wanted_columns(call, gate.rows())) {
    gates.read(n);
    ups.read(n);
    const auto column = static_cast<size_t>(n);
    for (int64_t t = 0; t < call.rows(x); ++t) {
      const float g = activate(call.op.attributes.activation,
                               static_cast<float>(gates.at(t, gate_bias[column])));
      const double u = ups.at(t, up_bias[column]);
      call.row(out, t)[column] = call.stored(out, static_cast<float>(g * u));
    }
  }
}

void unary(const Call& call) {
  const TensorId x = call.input(0), out = call.output(0);
  for (int64_t t = 0; t < call.rows(out); ++t) {
    for (size_t i = 0; i < call.row(out, t).size(); ++i) {
      const float value = call.row(x, t)[i] * call.op.attributes.scale;
      call.row(out, t)[i] = call.stored(out, activate(call.op.attributes.activation, value));
    }
  }
}

namespace {

float combined(BinaryKind kind, float a, float b) {
  switch (kind) {
    case BinaryKind::add:
      return a + b;
    case BinaryKind::mul:
      return a * b;
    case BinaryKind::sub:
      return a - b;
    case BinaryKind::div:
      return a / b;
  }
  return 0;
}

}  // namespace

void binary(const Call& call) {
  const TensorId a = call.input(0), b = call.input(1), out = call.output(0);
  const std::vector<float> vector = call.vector(call.weight(0), call.width(out), 0.0f);
  for (int64_t t = 0; t < call.rows(out); ++t) {
    for (size_t i = 0; i < call.row(out, t).size(); ++i) {
      const float left = call.row(a, t)[i];
      const float right = b == kNone ? vector[i] : call.row(b, t)[i];
      call.row(out, t)[i] = call.stored(out, combined(call.op.attributes.binary, left, right));
    }
  }
}

void select_rows(const Call& call) {
  const TensorId x = call.input(0), out = call.output(0);
  const auto last = static_cast<int64_t>(call.tensor(x).size()) / call.width(x) - 1;
  for (int64_t r = 0; r < call.rows(out); ++r) {
    const auto source = call.row(x, std::min(last, int64_t{call.state.record.head_row} + r));
    for (size_t i = 0; i < source.size(); ++i) {
      call.row(out, r)[i] = call.stored(out, source[i]);
    }
  }
}

}  // namespace pocket::host_reference
