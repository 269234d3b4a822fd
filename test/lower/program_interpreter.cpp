#include "test/lower/program_interpreter.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace pocket::test {

namespace {

double activate(Activation function, double x) {
  switch (function) {
    case Activation::none:
      return x;
    case Activation::relu:
      return std::max(x, 0.0);
    case Activation::gelu_erf:
      return 0.5 * x * (1 + std::erf(x / std::numbers::sqrt2));
    case Activation::gelu_tanh:
      return 0.5 * x *
             (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
    case Activation::silu:
      return x / (1 + std::exp(-x));
    case Activation::tanh:
      return std::tanh(x);
    case Activation::sigmoid:
      return 1 / (1 + std::exp(-x));
  }
  return 0;
}

}  // namespace

ProgramInterpreter::ProgramInterpreter(const Lowered& lowered, int64_t context)
    : program_(lowered.program), tensors_(lowered.program.tensors.size()) {
  for (const LoweredWeight& weight : lowered.weights) {
    Matrix matrix{weight.source.rows(), weight.source.columns(), {}};
    matrix.values.resize(static_cast<size_t>(matrix.rows * matrix.columns));
    weight.source.read_rows(0, matrix.rows, matrix.values.data());
    weights_.push_back(std::move(matrix));
  }
  for (size_t i = 0; i < tensors_.size(); ++i) {
    const Tensor& tensor = program_.tensors[i];
    if (tensor.role != TensorRole::state) continue;
    tensors_[i].rows = context;
    tensors_[i].columns = tensor.shape[1].constant() * tensor.shape[2].constant();
    tensors_[i].values.resize(static_cast<size_t>(context * tensors_[i].columns));
  }
}

std::vector<float> ProgramInterpreter::step(const std::vector<int64_t>& ids, int64_t rows) {
  ids_ = ids;
  head_rows_ = rows;
  head_row_ = static_cast<int64_t>(ids.size()) - rows;
  for (const Operator& op : program_.operators) run(op);
  past_ += static_cast<int64_t>(ids.size());
  return tensors_[static_cast<size_t>(program_.logits)].values;
}

ProgramInterpreter::Matrix& ProgramInterpreter::out(const Operator& op, size_t index) {
  const auto id = static_cast<size_t>(op.outputs.at(index));
  const Tensor& tensor = program_.tensors.at(id);
  Matrix& matrix = tensors_[id];
  const Bindings bindings{{"tokens", static_cast<int64_t>(ids_.size())}, {"rows", head_rows_}};
  matrix.rows = tensor.shape[0].evaluate(bindings);
  matrix.columns = tensor.shape[1].constant();
  matrix.values.assign(static_cast<size_t>(matrix.rows * matrix.columns), 0.0f);
  return matrix;
}

const ProgramInterpreter::Matrix& ProgramInterpreter::in(const Operator& op, size_t index) const {
  return tensors_.at(static_cast<size_t>(op.inputs.at(index)));
}

void ProgramInterpreter::run(const Operator& op) {
  switch (op.kind) {
    case OpKind::embed:
      return embed(op);
    case OpKind::norm:
      return norm(op);
    case OpKind::linear:
      return linear(op);
    case OpKind::gated_linear:
      return gated_linear(op);
    case OpKind::rotary_kv:
      return rotary_kv(op);
    case OpKind::attention:
      return attention(op);
    case OpKind::unary: {
      Matrix& y = out(op);
      for (size_t i = 0; i < y.values.size(); ++i) {
        const auto x = static_cast<double>(in(op).values[i] * op.attributes.scale);
        y.values[i] = static_cast<float>(activate(op.attributes.activation, x));
      }
      return;
    }
    case OpKind::binary: {
      Matrix& y = out(op);
      for (size_t i = 0; i < y.values.size(); ++i) {
        const auto column = i % static_cast<size_t>(y.columns);
        const float b = op.inputs[1] != kNone
                            ? in(op, 1).values[i]
                            : weights_[static_cast<size_t>(op.weights[0])].values[column];
        const float a = in(op).values[i];
        y.values[i] = op.attributes.binary == BinaryKind::add ? a + b : a * b;
      }
      return;
    }
    case OpKind::select_rows: {
      Matrix& y = out(op);
      const Matrix& x = in(op);
      std::copy_n(x.values.begin() + head_row_ * x.columns, y.values.size(), y.values.begin());
      return;
    }
  }
}

void ProgramInterpreter::embed(const Operator& op) {
  Matrix& y = out(op);
  const Matrix& table = weights_[static_cast<size_t>(op.weights[0])];
  for (int64_t t = 0; t < y.rows; ++t) {
    for (int64_t i = 0; i < y.columns; ++i) {
      float& value = y.values[static_cast<size_t>(t * y.columns + i)];
      const int64_t row = ids_[static_cast<size_t>(t)];
      value = op.attributes.scale * table.values[static_cast<size_t>(row * y.columns + i)];
      if (op.weights[1] == kNone) continue;
      const int64_t position = past_ + t + op.attributes.position_offset;
      value += weights_[static_cast<size_t>(op.weights[1])]
                   .values[static_cast<size_t>(position * y.columns + i)];
    }
  }
}

void ProgramInterpreter::norm(const Operator& op) {
  Matrix x = in(op);
  if (op.inputs[1] != kNone) {
    for (size_t i = 0; i < x.values.size(); ++i) x.values[i] += in(op, 1).values[i];
  }
  if (op.outputs[1] != kNone) out(op, 1).values = x.values;
  Matrix& y = out(op);
  const auto width = static_cast<size_t>(x.columns);
  for (size_t start = 0; start < x.values.size(); start += width) {
    double mean = 0, square = 0;
    for (size_t i = 0; i < width; ++i) mean += static_cast<double>(x.values[start + i]);
    mean = op.attributes.norm == NormKind::layer ? mean / static_cast<double>(width) : 0.0;
    for (size_t i = 0; i < width; ++i) {
      square += std::pow(static_cast<double>(x.values[start + i]) - mean, 2);
    }
    const double root =
        std::sqrt(square / static_cast<double>(width) + static_cast<double>(op.attributes.epsilon));
    for (size_t i = 0; i < width; ++i) {
      double value = (static_cast<double>(x.values[start + i]) - mean) / root;
      const auto vector = [&](size_t index, double fallback) {
        return op.weights[index] == kNone
                   ? fallback
                   : static_cast<double>(
                         weights_[static_cast<size_t>(op.weights[index])].values[i]);
      };
      value = value * vector(0, 1.0) + vector(1, 0.0);
      y.values[start + i] = static_cast<float>(value);
    }
  }
}

ProgramInterpreter::Matrix ProgramInterpreter::product(const Matrix& x, WeightId weight,
                                                       WeightId bias) const {
  const Matrix& w = weights_.at(static_cast<size_t>(weight));
  Matrix y{x.rows, w.rows, std::vector<float>(static_cast<size_t>(x.rows * w.rows))};
  for (int64_t row = 0; row < x.rows; ++row) {
    for (int64_t n = 0; n < w.rows; ++n) {
      double sum = bias == kNone
                       ? 0.0
                       : static_cast<double>(
                             weights_[static_cast<size_t>(bias)].values[static_cast<size_t>(n)]);
      for (int64_t k = 0; k < x.columns; ++k) {
        sum += static_cast<double>(x.values[static_cast<size_t>(row * x.columns + k)]) *
               static_cast<double>(w.values[static_cast<size_t>(n * x.columns + k)]);
      }
      y.values[static_cast<size_t>(row * w.rows + n)] = static_cast<float>(sum);
    }
  }
  return y;
}

void ProgramInterpreter::linear(const Operator& op) {
  const Matrix result = product(in(op), op.weights[0], op.weights[1]);
  Matrix& y = out(op);
  for (size_t i = 0; i < y.values.size(); ++i) {
    y.values[i] = static_cast<float>(
        activate(op.attributes.activation, static_cast<double>(result.values[i])));
    if (op.inputs[1] != kNone) y.values[i] += in(op, 1).values[i];
  }
}

void ProgramInterpreter::gated_linear(const Operator& op) {
  const Matrix gate = product(in(op), op.weights[0], op.weights[2]);
  const Matrix up = product(in(op), op.weights[1], op.weights[3]);
  Matrix& y = out(op);
  for (size_t i = 0; i < y.values.size(); ++i) {
    const double active = activate(op.attributes.activation, static_cast<double>(gate.values[i]));
    y.values[i] = static_cast<float>(active) * up.values[i];
  }
}

void ProgramInterpreter::rotary_kv(const Operator& op) {
  const Attributes& a = op.attributes;
  const auto move = [&](const Matrix& from, int64_t column, int64_t heads, bool rotated, Matrix& to,
                        int64_t first_row) {
    for (int64_t t = 0; t < from.rows; ++t) {
      for (int64_t i = 0; i < heads * a.head_dim; ++i) {
        const float* source = from.values.data() + t * from.columns + column;
        const int64_t in_head = i % a.head_dim;
        double value = static_cast<double>(source[i]);
        if (rotated && in_head < a.rotary_dim) {
          const int64_t half = a.rotary_dim / 2;
          const bool second = a.interleaved ? in_head % 2 == 1 : in_head >= half;
          const int64_t pair = a.interleaved ? in_head / 2 : in_head % half;
          const int64_t step = a.interleaved ? 1 : half;
          const auto other = static_cast<double>(source[second ? i - step : i + step]);
          const RopeTable& rope = program_.rope_tables[static_cast<size_t>(a.rope_table)];
          const double angle =
              static_cast<double>(past_ + t) * rope.inv_freq[static_cast<size_t>(pair)];
          value =
              rope.scale * (value * std::cos(angle) + (second ? other : -other) * std::sin(angle));
        }
        to.values[static_cast<size_t>((first_row + t) * to.columns + i)] =
            static_cast<float>(value);
      }
    }
  };
  move(in(op, 0), a.q_column, a.heads, true, out(op), 0);
  move(in(op, 1), a.k_column, a.kv_heads, true, tensors_[static_cast<size_t>(op.inputs[3])], past_);
  move(in(op, 2), a.v_column, a.kv_heads, false, tensors_[static_cast<size_t>(op.inputs[4])],
       past_);
}

void ProgramInterpreter::attention(const Operator& op) {
  const Attributes& a = op.attributes;
  const Matrix& q = in(op, 0);
  const Matrix& keys = in(op, 1);
  const Matrix& values = in(op, 2);
  Matrix& y = out(op);
  for (int64_t t = 0; t < q.rows; ++t) {
    for (int64_t h = 0; h < a.heads; ++h) {
      const int64_t kv = h / (a.heads / a.kv_heads) * a.head_dim;
      std::vector<double> weights(static_cast<size_t>(past_ + t + 1));
      double total = 0;
      for (size_t s = 0; s < weights.size(); ++s) {
        double dot = 0;
        for (int64_t d = 0; d < a.head_dim; ++d) {
          dot +=
              static_cast<double>(
                  q.values[static_cast<size_t>(t * q.columns + h * a.head_dim + d)]) *
              static_cast<double>(
                  keys.values[s * static_cast<size_t>(keys.columns) + static_cast<size_t>(kv + d)]);
        }
        total += weights[s] = std::exp(dot * static_cast<double>(a.scale));
      }
      for (int64_t d = 0; d < a.head_dim; ++d) {
        double sum = 0;
        for (size_t s = 0; s < weights.size(); ++s) {
          sum += weights[s] *
                 static_cast<double>(values.values[s * static_cast<size_t>(values.columns) +
                                                   static_cast<size_t>(kv + d)]);
        }
        y.values[static_cast<size_t>(t * y.columns + h * a.head_dim + d)] =
            static_cast<float>(sum / total);
      }
    }
  }
}

}  // namespace pocket::test
