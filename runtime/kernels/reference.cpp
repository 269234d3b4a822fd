#include "runtime/kernels/reference.h"

#include <algorithm>
#include <cmath>

#include "runtime/base/error.h"
#include "runtime/kernels/reference_operators.h"
#include "runtime/package/w8a8.h"

namespace pocket {

WeightRows::WeightRows(const Weight& weight, std::vector<uint8_t> codes, std::vector<uint8_t> pairs)
    : format_(weight.format),
      act_scale_(weight.act_scale),
      codes_(std::move(codes)),
      pairs_(std::move(pairs)) {
  if (codes_.size() != format_.code_bytes() || pairs_.size() != format_.pair_bytes()) {
    throw Error(ExitCode::bad_input, "weight '" + weight.name + "' has " +
                                         std::to_string(codes_.size()) + " bytes of codes and " +
                                         std::to_string(format_.code_bytes()) +
                                         " are needed; convert the model again");
  }
}

void WeightRows::read(int64_t row, float* out) const {
  unpack_row(format_, codes_.data(), pairs_.data(), row, out);
}

void WeightRows::read_codes(int64_t row, int8_t* out) const {
  for (int64_t column = 0; column < columns(); ++column) {
    out[column] = w8a8_code(format_, codes_.data(), row, column);
  }
}

float WeightRows::row_scale(int64_t row) const { return w8a8_row(pairs_.data(), row).scale; }

std::vector<float> WeightRows::vector() const {
  std::vector<float> values(static_cast<size_t>(columns()));
  read(0, values.data());
  return values;
}

float activate(Activation activation, float x) {
  switch (activation) {
    case Activation::none:
      return x;
    case Activation::relu:
      return std::max(x, 0.0f);
    case Activation::gelu_erf:
      return 0.5f * x * (1.0f + std::erf(x * 0.70710678f));
    case Activation::gelu_tanh:
      return 0.5f * x * (1.0f + std::tanh(0.79788456f * (x + 0.044715f * x * x * x)));
    case Activation::silu:
      return x / (1.0f + std::exp(-x));
    case Activation::tanh:
      return std::tanh(x);
    case Activation::sigmoid:
      return 1.0f / (1.0f + std::exp(-x));
    case Activation::quick_gelu:
      return x / (1.0f + std::exp(-1.702f * x));
    case Activation::relu_square:
      return std::max(x, 0.0f) * std::max(x, 0.0f);
    case Activation::exp:
      return std::exp(x);
    case Activation::log:
      return std::log(x);
    case Activation::sqrt:
      return std::sqrt(x);
    case Activation::neg:
      return -x;
    case Activation::abs:
      return std::abs(x);
    case Activation::softplus:
      return std::max(x, 0.0f) + std::log1p(std::exp(-std::abs(x)));
    case Activation::reciprocal:
      return 1.0f / x;
    case Activation::square:
      return x * x;
    case Activation::erf:
      return std::erf(x);
  }
  return x;
}

std::vector<float> make_rope_table(const RopeTable& table, int64_t context,
                                   const WeightLookup& weights) {
  const auto half = static_cast<size_t>(table.half());
  const size_t row = 2 * half;
  const size_t variant = static_cast<size_t>(context) * row;
  std::vector<float> values(static_cast<size_t>(table.variants()) * variant);
  if (table.values != kNone) {
    const WeightRows& given = weights(table.values);
    for (int64_t position = 0; position < context; ++position) {
      given.read(position, values.data() + static_cast<size_t>(position) * row);
    }
    return values;
  }
  for (size_t i = 0; i < values.size() / 2; ++i) {
    const bool is_long = i >= variant / 2;
    const size_t position = i % (variant / 2) / half, pair = i % half;
    const double frequency = (is_long ? table.long_inv_freq : table.inv_freq)[pair];
    const double scale = is_long ? table.long_scale : table.scale;
    const double angle = static_cast<double>(position) * frequency;
    const size_t at = (is_long ? variant : 0) + position * row + pair;
    values[at] = static_cast<float>(std::cos(angle) * scale);
    values[at + half] = static_cast<float>(std::sin(angle) * scale);
  }
  return values;
}

HostState make_host_state(const Program& program, const Bindings& bindings) {
  HostState state;
  state.bindings = bindings;
  state.tensors.resize(program.tensors.size());
  for (size_t i = 0; i < program.tensors.size(); ++i) {
    int64_t elements = 1;
    for (const Expr& dimension : program.tensors[i].shape) elements *= dimension.evaluate(bindings);
    state.tensors[i].resize(static_cast<size_t>(elements));
  }
  state.token_ids.resize(static_cast<size_t>(bindings.at("context")) + 1);
  return state;
}

void run_reference(const Manifest& manifest, const WeightLookup& weights, int32_t op,
                   HostState& state, const ReferenceOptions& options) {
  const Program& program = manifest.program;
  const Operator& o = program.operators.at(static_cast<size_t>(op));
  bool body = true;
  for (const Segment& s : program.segments) {
    if (op >= s.first_op && op < s.first_op + s.op_count) body = s.part == Part::body;
  }
  const host_reference::Call call(program, o, weights, state, options, body);
  switch (o.kind) {
    case OpKind::embed:
      host_reference::embed(call);
      break;
    case OpKind::norm:
      host_reference::norm(call);
      break;
    case OpKind::linear:
      host_reference::linear(call);
      break;
    case OpKind::gated_linear:
      host_reference::gated_linear(call);
      break;
    case OpKind::rotary_kv:
      host_reference::rotary_kv(call);
      break;
    case OpKind::attention:
      host_reference::attention(call);
      break;
    case OpKind::unary:
      host_reference::unary(call);
      break;
    case OpKind::binary:
      host_reference::binary(call);
      break;
    case OpKind::select_rows:
      host_reference::select_rows(call);
      break;
    case OpKind::generic:
      host_reference::generic(call);
      break;
  }
}

}  // namespace pocket
