#include "test/support/tiny_model.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "converter/lower/plan_memory.h"
#include "converter/package/writer.h"
#include "converter/quant/any_precision.h"
#include "converter/quant/encode.h"
#include "runtime/package/w8a8.h"

namespace pocket::test {
namespace {

class Builder {
 public:
  explicit Builder(const TinyOptions& options) : o_(options), random_(options.seed) {
    if (o_.rotary_dim < 0) o_.rotary_dim = o_.head_dim;
    if (o_.style == TinyStyle::gpt2) {
      o_.kv_heads = o_.heads;
      o_.rotary_dim = 0;
    }
    model_.options = o_;
  }

  TinyModel build() {
    Program& p = program();
    p.symbols = {{"tokens", {1, o_.max_context}},
                 {"past", {0, o_.max_context}},
                 {"rows", {1, o_.max_context}},
                 {"context", {1, o_.max_context}}};
    p.vocab = o_.vocab;
    p.max_context = p.default_context = o_.max_context;
    p.default_chunk = std::min(o_.chunk, o_.max_context);
    if (o_.rotary_dim > 0) {
      RopeTable table;
      for (int32_t i = 0; i < o_.rotary_dim / 2; ++i) {
        table.inv_freq.push_back(std::pow(10000.0, -2.0 * i / o_.rotary_dim));
      }
      p.rope_tables.push_back(std::move(table));
    }
    const WeightId table = matrix("embedding", o_.vocab, o_.hidden);
    const WeightId positions =
        o_.style == TinyStyle::gpt2 ? matrix("positions", o_.max_context, o_.hidden) : kNone;
    TensorId x = activation("embedded", o_.hidden);
    add(OpKind::embed, "embed", {}, {x}, {table, positions});
    segment("embed", Part::body);
    for (int64_t layer = 0; layer < o_.layers; ++layer) {
      prefix_ = "layer" + std::to_string(layer) + ".";
      x = build_layer(x);
      segment("layer" + std::to_string(layer), Part::body);
    }
    prefix_.clear();
    p.hidden = x;
    rows_ = Expr::symbol("rows");
    const TensorId row = activation("row", o_.hidden);
    add(OpKind::select_rows, "select_rows", {x}, {row}, {});
    const TensorId y = norm("final_norm", row, kNone, nullptr);
    const WeightId head = o_.tied ? table : matrix("head", o_.vocab, o_.hidden);
    p.logits = activation("logits", o_.vocab);
    p.tensors.back().dtype = DType::f32;
    add(OpKind::linear, "head", {y, kNone}, {p.logits}, {head, kNone});
    segment("head", Part::head);
    model_.manifest.generation.eos_ids = o_.eos_ids;
    model_.manifest.provenance = {{"source", "random weights"}, {"seed", o_.seed}};
    plan_memory(p);
    return std::move(model_);
  }

 private:
  Program& program() { return model_.manifest.program; }

  TensorId tensor(const char* name, DType dtype, TensorRole role, std::vector<Expr> shape) {
    program().tensors.push_back({prefix_ + name, dtype, role, std::move(shape)});
    return static_cast<TensorId>(program().tensors.size()) - 1;
  }

  TensorId activation(const char* name, int64_t width) {
    return tensor(name, o_.activations, TensorRole::activation, {rows_, width});
  }

  WeightId weight(const char* name, std::vector<int64_t> shape, float mean, float deviation) {
    size_t count = o_.values ? 1 : 0;
    for (const int64_t extent : shape) count *= static_cast<size_t>(extent);
    std::normal_distribution<float> normal(mean, deviation);
    std::vector<float> values(count);
    for (float& value : values) value = normal(random_);
    program().weights.push_back(prefix_ + name);
    model_.shapes.push_back(std::move(shape));
    model_.values.push_back(std::move(values));
    return static_cast<WeightId>(program().weights.size()) - 1;
  }

  WeightId matrix(const char* name, int64_t rows, int64_t columns) {
    return weight(name, {rows, columns}, 0.0f, 1.0f / std::sqrt(static_cast<float>(columns)));
  }

  WeightId bias(const std::string& name, int64_t width) {
    if (o_.style != TinyStyle::gpt2) return kNone;
    return weight((name + ".bias").c_str(), {width}, 0.0f, 0.1f);
  }

  Attributes& add(OpKind kind, const char* name, std::vector<TensorId> inputs,
                  std::vector<TensorId> outputs, std::vector<WeightId> weights) {
    Operator op;
    op.kind = kind;
    op.name = prefix_ + name;
    op.inputs = std::move(inputs);
    op.outputs = std::move(outputs);
    op.weights = std::move(weights);
    program().operators.push_back(std::move(op));
    return program().operators.back().attributes;
  }

  void segment(std::string name, Part part) {
    const int32_t first = program().segments.empty() ? 0
                                                     : program().segments.back().first_op +
                                                           program().segments.back().op_count;
    const auto end = static_cast<int32_t>(program().operators.size());
    program().segments.push_back({std::move(name), part, first, end - first});
  }

  // y = norm(x + residual); the sum is written where `sum` is not null.
  TensorId norm(const char* name, TensorId x, TensorId residual, TensorId* sum) {
    const std::string text(name);
    const WeightId scale = weight((text + ".weight").c_str(), {o_.hidden}, 1.0f, 0.1f);
    const TensorId y = activation((text + ".out").c_str(), o_.hidden);
    const TensorId total = sum ? activation((text + ".sum").c_str(), o_.hidden) : kNone;
    if (sum) *sum = total;
    const bool layer_norm = o_.style == TinyStyle::gpt2;
    const WeightId shift = bias(text, o_.hidden);
    Attributes& a = add(OpKind::norm, name, {x, residual}, {y, total}, {scale, shift});
    a.norm = layer_norm ? NormKind::layer : NormKind::rms;
    a.epsilon = 1e-5f;
    return y;
  }

  TensorId linear(const char* name, TensorId x, int64_t in, int64_t out, TensorId residual,
                  Activation activate) {
    const std::string text(name);
    const WeightId w = matrix(name, out, in);
    const WeightId b = bias(text, out);
    TensorId y = activation((text + ".out").c_str(), out);
    const bool split = o_.unfused;
    add(OpKind::linear, name, {x, split ? kNone : residual}, {y}, {w, b}).activation =
        split ? Activation::none : activate;
    if (!split) return y;
    if (activate != Activation::none) {
      const TensorId z = activation((text + ".activated").c_str(), out);
      add(OpKind::unary, (text + ".activate").c_str(), {y}, {z}, {}).activation = activate;
      y = z;
    }
    if (residual != kNone) {
      const TensorId z = activation((text + ".added").c_str(), out);
      add(OpKind::binary, (text + ".add").c_str(), {y, residual}, {z}, {kNone}).binary =
          BinaryKind::add;
      y = z;
    }
    return y;
  }

  TensorId build_attention(TensorId y) {
    const int64_t q = int64_t{o_.heads} * o_.head_dim, kv = int64_t{o_.kv_heads} * o_.head_dim;
    TensorId sources[3];
    if (o_.merged_qkv) {
      std::fill_n(sources, 3, linear("qkv", y, o_.hidden, q + 2 * kv, kNone, Activation::none));
    } else {
      sources[0] = linear("q", y, o_.hidden, q, kNone, Activation::none);
      sources[1] = linear("k", y, o_.hidden, kv, kNone, Activation::none);
      sources[2] = linear("v", y, o_.hidden, kv, kNone, Activation::none);
    }
    const std::vector<Expr> shape = {Expr::symbol("context"), o_.kv_heads, o_.head_dim};
    const TensorId k_state = tensor("k_state", o_.states, TensorRole::state, shape);
    const TensorId v_state = tensor("v_state", o_.states, TensorRole::state, shape);
    const TensorId rotated = activation("rotated", q);
    Attributes rotary;
    rotary.heads = o_.heads;
    rotary.kv_heads = o_.kv_heads;
    rotary.head_dim = o_.head_dim;
    Attributes attend = rotary;
    rotary.rotary_dim = o_.rotary_dim;
    rotary.interleaved = o_.interleaved;
    rotary.rope_table = o_.rotary_dim > 0 ? 0 : kNone;
    if (o_.merged_qkv) {
      rotary.k_column = static_cast<int32_t>(q);
      rotary.v_column = static_cast<int32_t>(q + kv);
    }
    add(OpKind::rotary_kv, "rotary", {sources[0], sources[1], sources[2], k_state, v_state},
        {rotated}, {}) = rotary;
    const TensorId out = activation("attended", q);
    attend.scale = 1.0f / std::sqrt(static_cast<float>(o_.head_dim));
    add(OpKind::attention, "attention", {rotated, k_state, v_state}, {out}, {}) = attend;
    return out;
  }

  TensorId build_layer(TensorId x) {
    const int64_t q = int64_t{o_.heads} * o_.head_dim;
    const TensorId attended = build_attention(norm("attention_norm", x, kNone, nullptr));
    if (o_.style == TinyStyle::gpt2) {
      x = linear("o", attended, q, o_.hidden, x, Activation::none);
      const TensorId y = norm("mlp_norm", x, kNone, nullptr);
      const TensorId h = linear("up", y, o_.hidden, o_.intermediate, kNone, Activation::gelu_tanh);
      return linear("down", h, o_.intermediate, o_.hidden, x, Activation::none);
    }
    const TensorId projected = linear("o", attended, q, o_.hidden, kNone, Activation::none);
    TensorId sum = kNone;
    const TensorId y = norm("mlp_norm", projected, x, &sum);
    const WeightId gate = matrix("gate", o_.intermediate, o_.hidden);
    const WeightId up = matrix("up", o_.intermediate, o_.hidden);
    const TensorId h = activation("gated", o_.intermediate);
    add(OpKind::gated_linear, "gated", {y}, {h}, {gate, up, kNone, kNone}).activation =
        Activation::silu;
    return linear("down", h, o_.intermediate, o_.hidden, sum, Activation::none);
  }

  TinyOptions o_;
  std::mt19937 random_;
  TinyModel model_;
  std::string prefix_;
  Expr rows_ = Expr::symbol("tokens");
};

}  // namespace

namespace {

// Codes by the largest weight of a row.
void write_w8a8(PackageWriter& writer, const WeightFormat& format, const float* values) {
  std::vector<int8_t> codes(static_cast<size_t>(format.rows * format.columns));
  std::vector<float> scales(static_cast<size_t>(format.rows));
  const auto columns = static_cast<size_t>(format.columns);
  for (size_t row = 0; row < scales.size(); ++row) {
    const float* in = values + row * columns;
    float most = 1e-5f;
    for (size_t k = 0; k < columns; ++k) most = std::max(most, std::abs(in[k]));
    scales[row] = most / kMostW8a8Code;
    for (size_t k = 0; k < columns; ++k) {
      codes[row * columns + k] = static_cast<int8_t>(std::nearbyint(in[k] / scales[row]));
    }
  }
  writer.set_input(kTinyActScale);
  writer.append(SectionRole::codes, pack_w8a8_codes(format, codes.data()));
  writer.append(SectionRole::scale, pack_w8a8_scales(format, scales.data(), codes.data()));
}

}  // namespace

TinyModel make_tiny_model(const TinyOptions& options) { return Builder(options).build(); }

void write_tiny_model(const TinyModel& model, const std::string& path, uint64_t shard_bytes) {
  PackageWriter writer(path, shard_bytes);
  for (size_t i = 0; i < model.shapes.size(); ++i) {
    const std::vector<int64_t>& shape = model.shapes[i];
    WeightFormat format;
    format.rows = shape.size() == 2 ? shape[0] : 1;
    format.columns = shape.back();
    if (shape.size() == 2) {
      format.encoding = model.options.encoding;
      format.group = format.four_bit() ? model.options.group : 0;
    }
    const std::string& name = model.manifest.program.weights[i];
    const bool matrix_only = format.encoding == Encoding::any || format.encoding == Encoding::w8a8;
    if (matrix_only && (name == "embedding" || name == "positions" || name == "head")) {
      format.encoding = Encoding::f16;
    }
    if (format.encoding == Encoding::any) {
      format.widths = 1u << 2 | 1u << 3 | 1u << 4;
      format.width = 4;
    }
    writer.begin_weight(name, shape, format);
    if (format.encoding == Encoding::w8a8) {
      write_w8a8(writer, format, model.values[i].data());
      continue;
    }
    const auto read_rows = [&](int64_t first, int64_t count, float* out) {
      std::copy_n(model.values[i].data() + first * format.columns, count * format.columns, out);
    };
    if (format.encoding == Encoding::any) {
      encode_any(
          name, format, read_rows, {},
          [&](SectionKind kind, std::span<const uint8_t> bytes) {
            writer.append(kind.role, bytes, kind.bits);
          },
          1);
      continue;
    }
    encode_weight(
        name, format, read_rows,
        [&](SectionRole role, std::span<const uint8_t> bytes) { writer.append(role, bytes); }, 1);
  }
  writer.finish(model.manifest);
}

void write_tiny_model(const TinyOptions& options, const std::string& path) {
  write_tiny_model(make_tiny_model(options), path);
}

}  // namespace pocket::test
