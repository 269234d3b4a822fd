// Attention operators of ONNX Runtime (domain com.microsoft), from their documentation: the oracle
// for the expansions of converter/onnx/expand_attention.cpp.
#include <cmath>
#include <limits>

#include "converter/reference/attention_core.h"
#include "converter/reference/operators.h"
#include "converter/reference/rotary.h"

namespace pocket::reference {

namespace {

using Outputs = std::vector<HostTensor>;

constexpr double kNever = -std::numeric_limits<double>::infinity();
int64_t count_of(const Call& call, const char* attribute) {
  const int64_t count = call.node.integer(attribute, 0);
  if (count < 1 || count > 1 << 20) call.fail(std::string("has an impossible ") + attribute);
  return count;
}

double scale_of(const Call& call, int64_t width) {
  const float given = call.node.real("scale", 0.0f);
  return given != 0.0f ? static_cast<double>(given) : 1.0 / std::sqrt(static_cast<double>(width));
}

HostTensor affine(const Call& call, const HostTensor& x, const HostTensor& weight,
                  const HostTensor* bias) {
  if (x.rank() != 3 || weight.rank() != 2 || x.shape[2] != weight.shape[0] || x.is_integer() ||
      weight.is_integer() || (bias != nullptr && bias->elements() != weight.shape[1])) {
    call.fail("has a projection that does not fit its input");
  }
  const int64_t width = weight.shape[1], inner = weight.shape[0];
  HostTensor y = HostTensor::make(x.type, {x.shape[0], x.shape[1], width});
  std::vector<double> sums(at(width));
  for (int64_t row = 0; row < x.shape[0] * x.shape[1]; ++row) {
    for (int64_t n = 0; n < width; ++n) {
      sums[at(n)] = bias == nullptr ? 0.0 : static_cast<double>(bias->f[at(n)]);
    }
    for (int64_t k = 0; k < inner; ++k) {
      const auto value = static_cast<double>(x.f[at(row * inner + k)]);
      for (int64_t n = 0; n < width; ++n) {
        sums[at(n)] += value * static_cast<double>(weight.f[at(k * width + n)]);
      }
    }
    for (int64_t n = 0; n < width; ++n) y.f[at(row * width + n)] = static_cast<float>(sums[at(n)]);
  }
  return y;
}

// A key mask: lengths [batch], or ones and zeros [batch, columns] or [batch, rows, columns].
double key_mask(const Call& call, const HostTensor& mask, double filter, int64_t b, int64_t i,
                int64_t j) {
  if (!mask.is_integer()) call.fail("has a mask that is no integer");
  if (mask.rank() == 1) return j < mask.i.at(at(b)) ? 0.0 : filter;
  const int64_t columns = mask.shape.back();
  const int64_t rows = mask.rank() == 3 ? mask.shape[1] : 1;
  const int64_t flat = ((mask.shape[0] == 1 ? 0 : b) * rows + (rows == 1 ? 0 : i)) * columns + j;
  if (j >= columns) call.fail("has a mask that is too short");
  return (1.0 - static_cast<double>(mask.i.at(at(flat)))) * filter;
}

// input, weights, bias?, mask_index?, past?, attention_bias?
Outputs packed_attention(const Call& call) {
  const int64_t heads = count_of(call, "num_heads");
  if (call.node.integer("do_rotary", 0) != 0)
    call.fail("rotates (do_rotary), which is unsupported");
  if (call.node.integer("past_present_share_buffer", 0) != 0 || call.has(6)) {
    call.fail("shares the buffer of past and present, which is unsupported");
  }
  const HostTensor qkv =
      affine(call, call.input(0), call.input(1), call.has(2) ? &call.input(2) : nullptr);
  const int64_t all = qkv.shape[2];
  const std::vector<int64_t> sizes =
      call.node.integers("qkv_hidden_sizes", {all / 3, all / 3, all / 3});
  if (sizes.size() != 3 || sizes[0] != sizes[1] || sizes[0] < 1 || sizes[2] < 1 || sizes[0] > all ||
      sizes[2] > all || sizes[0] + sizes[1] + sizes[2] != all || sizes[0] % heads != 0 ||
      sizes[2] % heads != 0) {
    call.fail("has impossible sizes of queries, keys and values");
  }
  const HostTensor q = split_heads(call, qkv, 0, heads, sizes[0] / heads);
  HostTensor k = split_heads(call, qkv, sizes[0], heads, sizes[1] / heads);
  HostTensor v = split_heads(call, qkv, sizes[0] + sizes[1], heads, sizes[2] / heads);
  const int64_t rows = q.shape[2];
  if (call.has(4)) {
    const HostTensor& past = call.input(4);
    if (past.rank() != 5 || past.shape[0] != 2) call.fail("needs a past of keys and values");
    const Shape half(past.shape.begin() + 1, past.shape.end());
    const auto middle = past.f.begin() + past.elements() / 2;
    const HostTensor keys = HostTensor::floats(half, {past.f.begin(), middle});
    const HostTensor values = HostTensor::floats(half, {middle, past.f.end()});
    k = append_rows(call, &keys, half[2], k);
    v = append_rows(call, &values, half[2], v);
  }
  const int64_t columns = k.shape[2];
  const bool causal = call.node.integer("unidirectional", 0) != 0;
  const auto filter = static_cast<double>(call.node.real("mask_filter_value", -10000.0f));
  AttentionCore core;
  core.scale = scale_of(call, q.shape[3]);
  core.mask = [&](int64_t b, int64_t h, int64_t i, int64_t j) {
    if (causal && j > columns - rows + i) return kNever;
    double sum = call.has(3) ? key_mask(call, call.input(3), filter, b, i, j) : 0.0;
    if (call.has(5)) sum += broadcast_element(call.input(5), b, h, i, j);
    return sum;
  };
  Outputs out;
  out.push_back(merge_heads(call, core.attend(call, q, k, v)));
  if (k.shape == v.shape) {
    HostTensor present = HostTensor::make(k.type, {2, k.shape[0], heads, columns, k.shape[3]});
    std::copy(k.f.begin(), k.f.end(), present.f.begin());
    std::copy(v.f.begin(), v.f.end(), present.f.begin() + k.elements());
    out.push_back(std::move(present));
  }
  return out;
}

// query, key?, value?, bias?, key_padding_mask?, attention_bias?, past_key?, past_value?
Outputs multi_head_attention(const Call& call) {
  const int64_t heads = count_of(call, "num_heads");
  if (call.has(8) || call.has(9)) {
    call.fail("shares the buffer of past and present, which is unsupported");
  }
  HostTensor query = call.input(0);
  if (query.rank() == 5 || !call.has(1) || !call.has(2)) {
    call.fail("packs queries, keys and values, which is unsupported");
  }
  const bool heads_given = call.input(1).rank() == 4;  // of another sequence: already split
  if (query.rank() != 3) call.fail("needs rows of queries");
  const int64_t width = query.shape[2] / heads;
  const auto biased = [&](const HostTensor& x, int64_t column) {
    HostTensor y = x;
    if (!call.has(3)) return y;
    const HostTensor& bias = call.input(3);
    if (y.rank() != 3 || column + y.shape[2] > bias.elements()) call.fail("has a bias too short");
    for (size_t i = 0; i < y.f.size(); ++i) {
      y.f[i] += bias.f[at(column) + i % at(y.shape[2])];
    }
    return y;
  };
  const HostTensor q = split_heads(call, biased(query, 0), 0, heads, width);
  HostTensor k = call.input(1), v = call.input(2);
  if (!heads_given) {
    k = split_heads(call, biased(k, query.shape[2]), 0, heads, k.shape[2] / heads);
    v = split_heads(call, biased(v, 2 * query.shape[2]), 0, heads, v.shape[2] / heads);
  }
  if (call.has(6) != call.has(7)) call.fail("has a past of keys or of values but not of both");
  if (call.has(6)) {
    const auto stored = [&](size_t index) {
      if (call.input(index).rank() != 4) call.fail("needs a past of heads");
      return call.input(index).shape[2];
    };
    k = append_rows(call, &call.input(6), stored(6), k);
    v = append_rows(call, &call.input(7), stored(7), v);
  }
  const int64_t rows = q.shape[2], columns = k.shape[2];
  const bool causal = call.node.integer("unidirectional", 0) != 0;
  const auto filter = static_cast<double>(call.node.real("mask_filter_value", -10000.0f));
  AttentionCore core;
  core.scale = scale_of(call, width);
  core.mask = [&](int64_t b, int64_t h, int64_t i, int64_t j) {
    if (causal && j > columns - rows + i) return kNever;
    double sum = call.has(4) ? key_mask(call, call.input(4), filter, b, i, j) : 0.0;
    if (call.has(5)) sum += broadcast_element(call.input(5), b, h, i, j);
    return sum;
  };
  HostTensor y = merge_heads(call, core.attend(call, q, k, v));
  return {std::move(y), std::move(k), std::move(v)};
}

// Root mean square norm of every head, as some graphs have it before the rotation.
void normalise_heads(const Call& call, HostTensor& heads, const HostTensor& weight,
                     double epsilon) {
  const int64_t width = heads.shape[3];
  if (weight.is_integer() || weight.elements() != width) call.fail("has a norm of another width");
  for (int64_t row = 0; row < heads.elements() / width; ++row) {
    float* x = heads.f.data() + row * width;
    double square = 0;
    for (int64_t d = 0; d < width; ++d)
      square += static_cast<double>(x[d]) * static_cast<double>(x[d]);
    const double factor = 1.0 / std::sqrt(square / static_cast<double>(width) + epsilon);
    for (int64_t d = 0; d < width; ++d) {
      x[d] = static_cast<float>(static_cast<double>(x[d]) * factor *
                                static_cast<double>(weight.f[at(d)]));
    }
  }
}

void refuse_group_query_options(const Call& call) {
  if (call.node.integer("smooth_softmax", 0) > 0) {
    call.fail("uses smooth_softmax, which is unsupported");
  }
  if (call.has(11)) call.fail("uses head_sink, which is unsupported");
  if (call.has(12) || call.has(13) || call.node.text("k_quant_type", "NONE") != "NONE" ||
      call.node.text("v_quant_type", "NONE") != "NONE") {
    call.fail("keeps a quantised cache, which is unsupported");
  }
  // A cache of the window alone holds what a whole one shows through that window: the same result.
  if (call.node.integer("sliding_window_cache", 0) != 0 &&
      call.node.integer("local_window_size", -1) < 1) {
    call.fail("keeps a rolling cache (sliding_window_cache) without a local_window_size");
  }
  if (call.node.integer("qk_output", 0) != 0) call.fail("returns scores, which is unsupported");
}

// query, key?, value?, past_key?, past_value?, seqlens_k, total_sequence_length, cos_cache?,
// sin_cache?, position_ids?, attention_bias?, head_sink?, k_scale?, v_scale?, q_norm?, k_norm?
Outputs group_query_attention(const Call& call) {
  refuse_group_query_options(call);
  const int64_t heads = count_of(call, "num_heads"), kv_heads = count_of(call, "kv_num_heads");
  const HostTensor& query = call.input(0);
  if (query.rank() != 3) call.fail("needs rows of queries");
  const bool packed = !call.has(1);
  const int64_t width = query.shape[2] / (packed ? heads + 2 * kv_heads : heads);
  HostTensor q = split_heads(call, query, 0, heads, width);
  HostTensor k = packed ? split_heads(call, query, heads * width, kv_heads, width)
                        : split_heads(call, call.input(1), 0, kv_heads, width);
  HostTensor v = packed ? split_heads(call, query, (heads + kv_heads) * width, kv_heads, width)
                        : split_heads(call, call.input(2), 0, kv_heads, width);
  const int64_t rows = q.shape[2], batch = q.shape[0];
  const HostTensor& lengths = call.input(5);
  if (!lengths.is_integer() || lengths.elements() != batch) call.fail("has impossible seqlens_k");
  for (const int64_t length : lengths.i) {
    // Sequences of unequal length would leave rows of padding between them.
    if (length != lengths.i[0]) call.fail("has sequences of unequal length");
  }
  const int64_t past = lengths.i.empty() ? 0 : lengths.i[0] + 1 - rows;
  if (past < 0 || (past > 0 && !call.has(3)))
    call.fail("has a seqlens_k that its past contradicts");
  const auto epsilon = static_cast<double>(call.node.real("qk_norm_epsilon", 1e-6f));
  if (call.has(14)) normalise_heads(call, q, call.input(14), epsilon);
  if (call.has(15)) normalise_heads(call, k, call.input(15), epsilon);
  if (call.node.integer("do_rotary", 0) != 0) {
    const RotaryTables tables =
        rotary_tables(call, 7, 8, call.node.integer("rotary_interleaved", 0) != 0);
    for (HostTensor* x : {&q, &k}) {
      for (int64_t line = 0; line < x->elements() / width; ++line) {
        int64_t position = past + line % rows;
        if (call.has(9)) {
          position = call.input(9).i.at(
              at((line / rows / x->shape[1] * rows + line % rows) % call.input(9).elements()));
        }
        rotate_head(call, x->f.data() + line * width, width, tables, position);
      }
    }
  }
  if (call.has(3)) {
    k = append_rows(call, &call.input(3), past, k);
    v = append_rows(call, &call.input(4), past, v);
  }
  const bool causal = call.node.integer("causal", 1) != 0;
  const int64_t window = call.node.integer("local_window_size", -1);
  AttentionCore core;
  core.scale = scale_of(call, width);
  core.soft_cap = static_cast<double>(call.node.real("softcap", 0.0f));
  core.mask = [&](int64_t b, int64_t h, int64_t i, int64_t j) {
    if (causal && j > past + i) return kNever;
    if (window > 0 && j <= past + i - window) return kNever;
    return call.has(10) ? broadcast_element(call.input(10), b, h, i, j) : 0.0;
  };
  HostTensor y = merge_heads(call, core.attend(call, q, k, v));
  return {std::move(y), std::move(k), std::move(v)};
}

}  // namespace

void register_fused_attention(Registry& r) {
  r.add("com.microsoft", "Attention", packed_attention);
  r.add("com.microsoft", "MultiHeadAttention", multi_head_attention);
  r.add("com.microsoft", "GroupQueryAttention", group_query_attention);
}

}  // namespace pocket::reference
