#include "test/mobile_shaders/phone_model.h"

#include <algorithm>

namespace pocket::test {
namespace {

class Builder {
 public:
  Builder(const PhoneShape& shape, Encoding encoding, int32_t width, int64_t group)
      : s_(shape), encoding_(encoding), width_(width), group_(group) {}

  // The residual stream is f32, everything else f16, as the converter's lowering has it.
  Manifest build() {
    const TensorId x = tensor("x", kTokens, s_.hidden, DType::f32);
    // Only matrices are packed in planes, or in 8 bits with scaled activations.
    const bool matrices = encoding_ == Encoding::any || encoding_ == Encoding::w8a8;
    const Encoding rows = matrices ? Encoding::f16 : encoding_;
    const WeightId table = weight(s_.vocab, s_.hidden, rows);
    const WeightId positions = s_.biased ? weight(2048, s_.hidden, rows) : kNone;
    add(OpKind::embed, {}, {x}, {table, positions});
    const TensorId mixed = attention(norm(x, kNone, kNone));
    TensorId sum = tensor("sum", kTokens, s_.hidden, DType::f32);
    TensorId y = kNone;
    if (s_.biased) {
      linear(mixed, x, sum, s_.hidden, s_.heads * s_.head_dim);
      y = norm(sum, kNone, kNone);
    } else {
      const TensorId projected = tensor("projected", kTokens, s_.hidden, DType::f32);
      linear(mixed, kNone, projected, s_.hidden, s_.heads * s_.head_dim);
      y = norm(projected, x, sum);
    }
    const TensorId last = tensor("last", kTokens, s_.hidden, DType::f32);
    linear(mlp(y), sum, last, s_.hidden, s_.inner);
    const TensorId row = tensor("row", kRows, s_.hidden, DType::f32);
    add(OpKind::select_rows, {last}, {row}, {}, Part::head);
    m_.program.logits = tensor("logits", kRows, s_.vocab, DType::f32);
    add(OpKind::linear, {norm(row, kNone, kNone), kNone}, {m_.program.logits}, {table, kNone}, Part::head);
    m_.program.vocab = s_.vocab;
    return std::move(m_);
  }

 private:
  TensorId tensor(const char* name, const Expr& rows, int64_t width, DType dtype) {
    m_.program.tensors.push_back({name, dtype, TensorRole::activation, {rows, Expr(width)}});
    return static_cast<TensorId>(m_.program.tensors.size()) - 1;
  }

  TensorId state(const char* name) {
    m_.program.tensors.push_back({name, DType::f16, TensorRole::state,
                                  {Expr::symbol("context"), s_.kv_heads, s_.head_dim}});
    return static_cast<TensorId>(m_.program.tensors.size()) - 1;
  }

  WeightId weight(int64_t rows, int64_t columns, Encoding encoding) {
    Weight w;
    w.name = "w" + std::to_string(m_.weights.size());
    w.shape = {rows, columns};
    w.format = {encoding, rows, columns, 0};
    if (w.format.four_bit()) w.format.group = group_;
    if (encoding == Encoding::w8a8) w.act_scale = 0.01f;
    if (encoding == Encoding::any) {
      w.format.width = width_;
      w.format.widths = 1u << width_;
    }
    for (const SectionKind kind : w.format.section_kinds()) {
      const uint64_t row_bytes = w.format.row_bytes(kind);
      const auto step = static_cast<int64_t>(kShardBytes / row_bytes) / kBlockRows * kBlockRows;
      for (int64_t row = 0; row < rows; row += step) {
        Section section;
        section.role = kind.role;
        section.bits = kind.bits;
        section.first_row = row;
        section.rows = std::min(step, rows - row);
        section.bytes = static_cast<uint64_t>(section.rows) * row_bytes;
        w.sections.push_back(section);
      }
    }
    m_.program.weights.push_back(w.name);
    m_.weights.push_back(std::move(w));
    return static_cast<WeightId>(m_.weights.size()) - 1;
  }

  WeightId vector(int64_t width, bool present) {
    return present ? weight(1, width, Encoding::f32) : kNone;
  }

  Attributes& add(OpKind kind, std::vector<TensorId> inputs, std::vector<TensorId> outputs,
                  std::vector<WeightId> weights, Part part = Part::body) {
    const auto index = static_cast<int32_t>(m_.program.operators.size());
    Operator op;
    op.kind = kind;
    op.name = std::string(op_kind_name(kind)) + " " + std::to_string(index);
    op.inputs = std::move(inputs);
    op.outputs = std::move(outputs);
    op.weights = std::move(weights);
    m_.program.operators.push_back(std::move(op));
    m_.program.segments.push_back({"segment", part, index, 1});
    return m_.program.operators.back().attributes;
  }

  TensorId norm(TensorId x, TensorId residual, TensorId sum) {
    const Expr rows = m_.program.tensors[static_cast<size_t>(x)].shape[0];
    const TensorId y = tensor("normed", rows, s_.hidden, DType::f16);
    add(OpKind::norm, {x, residual}, {y, sum}, {vector(s_.hidden, true), vector(s_.hidden, s_.biased)}).norm =
        s_.biased ? NormKind::layer : NormKind::rms;
    return y;
  }

  Attributes& linear(TensorId x, TensorId residual, TensorId y, int64_t rows, int64_t columns) {
    return add(OpKind::linear, {x, residual}, {y}, {weight(rows, columns, encoding_), vector(rows, s_.biased)});
  }

  TensorId attention(TensorId y) {
    const int64_t q = int64_t{s_.heads} * s_.head_dim, kv = int64_t{s_.kv_heads} * s_.head_dim;
    const TensorId qkv = tensor("qkv", kTokens, q + 2 * kv, DType::f16);
    linear(y, kNone, qkv, q + 2 * kv, s_.hidden);
    const TensorId k = state("k"), v = state("v");
    const TensorId queries = tensor("queries", kTokens, q, DType::f16);
    Attributes a;
    a.heads = s_.heads;
    a.kv_heads = s_.kv_heads;
    a.head_dim = s_.head_dim;
    Attributes rotary = a;
    if (!s_.biased) {
      rotary.rotary_dim = s_.head_dim;
      rotary.rope_table = 0;
      m_.program.rope_tables.push_back({std::vector<double>(static_cast<size_t>(s_.head_dim / 2), 1.0)});
    }
    rotary.k_column = static_cast<int32_t>(q);
    rotary.v_column = static_cast<int32_t>(q + kv);
    std::vector<WeightId> norms;
    if (s_.head_norms) norms = {vector(s_.head_dim, true), vector(s_.head_dim, true)};
    add(OpKind::rotary_kv, {qkv, qkv, qkv, k, v}, {queries}, std::move(norms)) = rotary;
    const TensorId mixed = tensor("mixed", kTokens, q, DType::f16);
    add(OpKind::attention, {queries, k, v}, {mixed}, {}) = a;
    return mixed;
  }

  TensorId mlp(TensorId y) {
    const TensorId h = tensor("inner", kTokens, s_.inner, DType::f16);
    if (s_.biased) {
      linear(y, kNone, h, s_.inner, s_.hidden).activation = Activation::gelu_tanh;
      return h;
    }
    const WeightId gate = weight(s_.inner, s_.hidden, encoding_);
    const WeightId up = weight(s_.inner, s_.hidden, encoding_);
    add(OpKind::gated_linear, {y}, {h}, {gate, up, kNone, kNone}).activation = Activation::silu;
    return h;
  }

  PhoneShape s_;
  Encoding encoding_;
  int32_t width_;
  int64_t group_;
  Manifest m_;
  const Expr kTokens = Expr::symbol("tokens"), kRows = Expr::symbol("rows");
};

}  // namespace

std::vector<PhoneShape> phone_shapes() {
  return {{"llama-1.1b", 2048, 5632, 32000, 32, 4, 64, false, false},
          {"llama-7b", 4096, 11008, 32000, 32, 32, 128, false, false},
          {"gemma-2b", 2048, 16384, 256000, 8, 1, 256, false, false},
          {"gpt2", 768, 3072, 50257, 12, 12, 64, true, false},
          {"qwen3-1.7b", 2048, 6144, 151936, 16, 8, 128, false, true}};
}

Manifest make_phone_model(const PhoneShape& shape, Encoding encoding, int32_t width, int64_t group) {
  return Builder(shape, encoding, width, group).build();
}

}  // namespace pocket::test
