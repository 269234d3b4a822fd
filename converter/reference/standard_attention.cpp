// Attention of ONNX (opsets 23 and 24). A causal mask is aligned to the end of the keys that a
// past makes longer; a soft cap comes before the mask (as clarified after opset 23).
#include <cmath>
#include <limits>

#include "converter/reference/attention_core.h"
#include "converter/reference/operators.h"

namespace pocket::reference {

namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();

int64_t heads_of(const Call& call, const char* attribute, const HostTensor& x) {
  if (x.rank() == 4) return x.shape[1];
  const int64_t count = call.node.integer(attribute, 0);
  if (x.rank() != 3 || count < 1 || x.shape[2] % count != 0) call.fail("has impossible heads");
  return count;
}

HostTensor as_heads(const Call& call, const char* attribute, const HostTensor& x) {
  if (x.rank() == 4) return x;
  const int64_t heads = heads_of(call, attribute, x);
  return split_heads(call, x, 0, heads, x.shape[2] / heads);
}

// Q, K, V, attn_mask?, past_key?, past_value?, nonpad_kv_seqlen?
std::vector<HostTensor> attention(const Call& call) {
  const HostTensor q = as_heads(call, "q_num_heads", call.input(0));
  HostTensor k = as_heads(call, "kv_num_heads", call.input(1));
  HostTensor v = as_heads(call, "kv_num_heads", call.input(2));
  int64_t past = 0;
  if (call.has(4) != call.has(5)) call.fail("has a past of keys or of values but not of both");
  if (call.has(4)) {
    if (call.input(4).rank() != 4) call.fail("needs a past of heads");
    past = call.input(4).shape[2];
    k = append_rows(call, &call.input(4), past, k);
    v = append_rows(call, &call.input(5), past, v);
  }
  const HostTensor* mask = call.has(3) ? &call.input(3) : nullptr;
  const HostTensor* lengths = call.has(6) ? &call.input(6) : nullptr;
  if (lengths != nullptr && lengths->elements() != q.shape[0]) {
    call.fail("has an impossible nonpad_kv_seqlen");
  }
  const bool causal = call.node.integer("is_causal", 0) != 0;
  // A window of keys before and behind each row (opset 25).
  const int64_t left = call.node.integer("left_window_size", -1);
  const int64_t right = call.node.integer("right_window_size", -1);
  const bool boolean = mask != nullptr && mask->type == ElementType::boolean;
  AttentionCore core;
  const float scale = call.node.real("scale", 0.0f);
  core.scale =
      scale != 0.0f ? static_cast<double>(scale) : 1.0 / std::sqrt(static_cast<double>(q.shape[3]));
  core.soft_cap = static_cast<double>(call.node.real("softcap", 0.0f));
  core.mask = [&](int64_t b, int64_t h, int64_t i, int64_t j) {
    const int64_t length = lengths == nullptr ? 0 : lengths->i[static_cast<size_t>(b)];
    if (lengths != nullptr && j >= length) return kNever;
    const int64_t offset = lengths != nullptr ? length - q.shape[2] : past;
    if (causal && j > i + offset) return kNever;
    if (left >= 0 && i + offset - j > left) return kNever;
    if (right >= 0 && j - i - offset > right) return kNever;
    if (mask == nullptr) return 0.0;
    if (j >= mask->shape.back() && mask->shape.back() > 1) return kNever;
    const double value = broadcast_element(*mask, b, h, i, j);
    if (boolean) return value != 0 ? 0.0 : kNever;
    return value;
  };
  HostTensor scores;
  const auto mode = static_cast<int>(call.node.integer("qk_matmul_output_mode", 0));
  HostTensor y = core.attend(call, q, k, v, call.node.outputs.size() > 3 ? &scores : nullptr, mode);
  if (call.input(0).rank() == 3) y = merge_heads(call, y);
  return {std::move(y), std::move(k), std::move(v), std::move(scores)};
}

}  // namespace

void register_standard_attention(Registry& r) { r.add("", "Attention", attention); }

}  // namespace pocket::reference
