#include "test/lower/program_interpreter.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "runtime/base/error.h"

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
    default:
      throw Error(ExitCode::usage, "the interpreter lacks an activation");
  }
}

float combine(BinaryKind kind, float a, float b) {
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
  return 0.0f;
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
        y.values[i] = combine(op.attributes.binary, a, b);
      }
      return;
    }
    case OpKind::select_rows: {
      Matrix& y = out(op);
      const Matrix& x = in(op);
      std::copy_n(x.values.begin() + head_row_ * x.columns, y.values.size(), y.values.begin());
      return;
    }
    default:
      throw Error(ExitCode::usage, "the interpreter lacks an operator kind");
  }
}

void ProgramInterpreter::embed(const Operator& op) {
  Matrix& y = out(op);
  for (int64_t t = 0; t < y.rows; ++t) {
    for (int64_t i = 0; i < y.columns; ++i) {
      float& value = y.values[static_cast<size_t>(t * y.columns + i)];
      value = 0.0f;
      if (op.weights[0] != kNone) {
        const Matrix& table = weights_[static_cast<size_t>(op.weights[0])];
        const int64_t row = ids_[static_cast<size_t>(t)];
        value = op.attributes.scale * table.values[static_cast<size_t>(row * y.columns + i)];
      }
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

void ProgramInterpreter::normalise(const Operator& op, size_t weight, int64_t heads,
                                   std::vector<double>& row) const {
  if (op.weights[weight] == kNone) return;
  const Attributes& a = op.attributes;
  const std::vector<float>& factors = weights_[static_cast<size_t>(op.weights[weight])].values;
  const bool by_head = factors.size() == static_cast<size_t>(heads * a.head_dim);
  const auto dim = static_cast<size_t>(a.head_dim);
  for (size_t start = 0; start < row.size(); start += dim) {
    double mean = 0, square = 0;
    for (size_t i = 0; i < dim; ++i) mean += row[start + i] / static_cast<double>(dim);
    if (a.norm == NormKind::rms) mean = 0;
    for (size_t i = 0; i < dim; ++i) square += std::pow(row[start + i] - mean, 2);
    const double root =
        std::sqrt(square / static_cast<double>(dim) + static_cast<double>(a.epsilon));
    for (size_t i = 0; i < dim; ++i) {
      row[start + i] =
          (row[start + i] - mean) / root * static_cast<double>(factors[by_head ? start + i : i]);
    }
  }
}

std::pair<double, double> ProgramInterpreter::turn(const RopeTable& rope, int64_t position,
                                                   int64_t length, int64_t pair) const {
  const auto at = static_cast<size_t>(pair);
  if (rope.values != kNone) {
    const Matrix& table = weights_[static_cast<size_t>(rope.values)];
    const auto row = static_cast<size_t>(position * table.columns) + at;
    return {static_cast<double>(table.values[row]),
            static_cast<double>(table.values[row + static_cast<size_t>(rope.values_half)])};
  }
  const bool is_long = !rope.long_inv_freq.empty() && length >= rope.long_from;
  const double angle =
      static_cast<double>(position) * (is_long ? rope.long_inv_freq[at] : rope.inv_freq[at]);
  const double scale = is_long ? rope.long_scale : rope.scale;
  return {scale * std::cos(angle), scale * std::sin(angle)};
}

void ProgramInterpreter::rotary_kv(const Operator& op) {
  const Attributes& a = op.attributes;
  const auto move = [&](const Matrix& from, int64_t column, int64_t heads, int norm, Matrix& to,
                        int64_t first_row) {
    for (int64_t t = 0; t < from.rows; ++t) {
      const float* source = from.values.data() + t * from.columns + column;
      std::vector<double> row(source, source + heads * a.head_dim);
      if (norm >= 0) normalise(op, static_cast<size_t>(norm), heads, row);
      for (int64_t i = 0; i < heads * a.head_dim; ++i) {
        const int64_t in_head = i % a.head_dim;
        double value = row[static_cast<size_t>(i)];
        if (norm >= 0 && in_head < a.rotary_dim) {
          const int64_t half = a.rotary_dim / 2;
          const bool second = a.interleaved ? in_head % 2 == 1 : in_head >= half;
          const int64_t pair = a.interleaved ? in_head / 2 : in_head % half;
          const int64_t step = a.interleaved ? 1 : half;
          const double other = row[static_cast<size_t>(second ? i - step : i + step)];
          const auto [c, s] = turn(program_.rope_tables[static_cast<size_t>(a.rope_table)],
                                   past_ + t, past_ + from.rows, pair);
          value = value * c + (second ? other : -other) * s;
        }
        to.values[static_cast<size_t>((first_row + t) * to.columns + i)] =
            static_cast<float>(value);
      }
    }
  };
  move(in(op, 0), a.q_column, a.heads, 0, out(op), 0);
  move(in(op, 1), a.k_column, a.kv_heads, 1, tensors_[static_cast<size_t>(op.inputs[3])], past_);
  move(in(op, 2), a.v_column, a.kv_heads, -1, tensors_[static_cast<size_t>(op.inputs[4])], past_);
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
      const int64_t position = past_ + t;
      const double slope =
          op.weights[0] == kNone
              ? 0.0
              : static_cast<double>(
                    weights_[static_cast<size_t>(op.weights[0])].values[static_cast<size_t>(h)]);
      const auto cap = static_cast<double>(a.soft_cap);
      for (size_t s = 0; s < weights.size(); ++s) {
        const int64_t distance = position - static_cast<int64_t>(s);
        if (a.window > 0 && distance >= a.window) continue;  // its weight stays 0
        double dot = 0;
        for (int64_t d = 0; d < a.head_dim; ++d) {
          dot +=
              static_cast<double>(
                  q.values[static_cast<size_t>(t * q.columns + h * a.head_dim + d)]) *
              static_cast<double>(
                  keys.values[s * static_cast<size_t>(keys.columns) + static_cast<size_t>(kv + d)]);
        }
        double score = dot * static_cast<double>(a.scale);
        if (cap > 0) score = cap * std::tanh(score / cap);
        total += weights[s] = std::exp(score - slope * static_cast<double>(distance));
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
