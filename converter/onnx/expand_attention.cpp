// Before: q, k, v rows, past -> Attention | MultiHeadAttention | GroupQueryAttention -> y, present
// After:  q rows -> (Slice) -> Reshape, Transpose -> (norm) -> (rotation) --------------+
//         k rows -> the same -> Concat past -> present -> (repeat) -> Transpose -> MatMul -> Mul
//         scale
//           -> (soft cap) -> (Add masks) -> Where causal -> Softmax -> MatMul <- (repeat) <-
//           present
//         y <- Reshape <- Transpose <-----------------------------------+
#include <algorithm>
#include <cmath>
#include <limits>

#include "converter/onnx/expand.h"

namespace pocket::onnx_import {

using ir::ElementType;
using ir::kAbsent;
using ir::Node;
using ir::ValueId;

namespace {

int64_t count_of(Emitter& emit, const Node& node, const char* attribute) {
  const int64_t count = node.integer(attribute, 0);
  if (count < 1 || count > 1 << 20) emit.fail(std::string("has an impossible ") + attribute);
  return count;
}

// Heads [batch, heads, tokens, width] of one attention and everything that acts on its scores.
struct Core {
  ValueId q = kAbsent, k = kAbsent, v = kAbsent;  // k and v with their past
  int64_t heads = 0, kv_heads = 0, width = 0, value_width = 0;
  double scale = 1.0, soft_cap = 0.0;
  std::vector<ValueId> additive;  // broadcast to the scores
  std::vector<ValueId> allowed;   // booleans, broadcast to the scores
  ElementType type = ElementType::f32;
};

double scale_of(const Node& node, int64_t width) {
  const float given = node.real("scale", 0.0f);
  return given != 0.0f ? static_cast<double>(given) : 1.0 / std::sqrt(static_cast<double>(width));
}

// The lowest finite number of the type: exp() of it is 0 and no row becomes NaN.
double lowest(ElementType type) {
  return type == ElementType::f16 ? -65504.0
                                  : static_cast<double>(std::numeric_limits<float>::lowest());
}

// Rows [batch, tokens, heads * value width].
ValueId attend(Emitter& emit, const Core& core) {
  const int64_t times = core.heads / core.kv_heads;
  const ValueId keys = emit.repeat_heads(core.k, core.heads, times, core.width);
  ValueId scores = emit.op("MatMul", {core.q, emit.transpose(keys, {0, 1, 3, 2})});
  if (core.scale != 1.0) scores = emit.op("Mul", {scores, emit.scalar(core.scale, core.type)});
  if (core.soft_cap > 0) {
    const ValueId cap = emit.scalar(core.soft_cap, core.type);
    scores = emit.op("Mul", {emit.op("Tanh", {emit.op("Div", {scores, cap})}), cap});
  }
  for (const ValueId mask : core.additive) scores = emit.op("Add", {scores, mask});
  for (const ValueId mask : core.allowed) {
    scores = emit.op("Where", {mask, scores, emit.scalar(lowest(core.type), core.type)});
  }
  const ValueId probabilities = emit.op("Softmax", {scores}, {{"axis", int64_t{-1}}});
  const ValueId values = emit.repeat_heads(core.v, core.heads, times, core.value_width);
  const ValueId mixed = emit.op("MatMul", {probabilities, values});
  return emit.merge_heads(mixed, core.heads * core.value_width);
}

// One half of a packed pair [2, ...]: directly where the pair was just put together.
ValueId half_of(Emitter& emit, ValueId packed, int64_t index) {
  const ir::Graph& graph = emit.graph();
  const Node* pair = graph.producer(packed);
  if (pair != nullptr && pair->is("Concat") && pair->inputs.size() == 2 &&
      pair->integer("axis", -1) == 0) {
    const Node* wide = graph.producer(pair->inputs[static_cast<size_t>(index)]);
    if (wide != nullptr && wide->is("Unsqueeze")) return wide->inputs[0];
  }
  return emit.op("Gather", {packed, emit.integer(index)}, {{"axis", int64_t{0}}});
}

// A mask of integers over the keys: lengths [batch], [batch, columns], [batch, tokens, columns].
void add_key_mask(Emitter& emit, const Node& node, ValueId mask, const Expr& columns, Core& core) {
  Expansion& expansion = emit.expansion();
  const size_t rank = expansion.shape(mask).size();
  if (rank < 1 || rank > 3 || !ir::is_integer_type(emit.graph().value(mask).type)) {
    emit.fail("has a mask of an unsupported shape");
  }
  const std::string key = "key mask " + std::to_string(mask) + " " + std::to_string(rank) + " " +
                          columns.str() + " " +
                          std::to_string(node.real("mask_filter_value", -10000.0f));
  if (rank == 1) {
    if (!(expansion.shape(mask)[0] == Expr(1))) emit.fail("has key lengths of several batches");
    const auto [it, fresh] = expansion.shared.try_emplace(key);
    if (fresh) {
      const ValueId length = emit.op("Cast", {mask}, {{"to", int64_t{7}}});
      it->second = emit.op("Less", {emit.positions(0, columns), length});
    }
    core.allowed.push_back(it->second);
    return;
  }
  const auto [it, fresh] = expansion.shared.try_emplace(key);
  if (fresh) {
    const auto filter = static_cast<double>(node.real("mask_filter_value", -10000.0f));
    ValueId value = emit.op("Cast", {mask}, {{"to", int64_t{1}}});
    value = emit.op("Sub", {emit.scalar(1.0, ElementType::f32), value});
    value = emit.op("Mul", {value, emit.scalar(filter, ElementType::f32)});
    if (core.type == ElementType::f16) value = emit.op("Cast", {value}, {{"to", int64_t{10}}});
    it->second = rank == 2 ? emit.unsqueeze(value, {1, 2}) : emit.unsqueeze(value, {1});
  }
  core.additive.push_back(it->second);
}

ValueId with_past(Emitter& emit, ValueId past, ValueId fresh) {
  return past == kAbsent ? fresh : emit.concat({past, fresh}, 2);
}

Replacement packed_attention(Emitter& emit, const Node& node) {
  Expansion& expansion = emit.expansion();
  Core core;
  core.heads = core.kv_heads = count_of(emit, node, "num_heads");
  if (node.integer("do_rotary", 0) != 0) emit.fail("rotates (do_rotary), which is unsupported");
  if (node.integer("past_present_share_buffer", 0) != 0 || node.input(6) != kAbsent) {
    emit.fail("shares the buffer of past and present, which is unsupported");
  }
  const ValueId x = node.inputs[0];
  core.type = emit.graph().value(x).type;
  const Expr tokens = expansion.shape(x).at(1);
  const int64_t all = expansion.number(node.inputs[1], 1);
  const std::vector<int64_t> sizes = node.integers("qkv_hidden_sizes", {all / 3, all / 3, all / 3});
  if (sizes.size() != 3 || sizes[0] != sizes[1] || sizes[0] < 1 || sizes[2] < 1 || sizes[0] > all ||
      sizes[2] > all || sizes[0] + sizes[1] + sizes[2] != all || sizes[0] % core.heads != 0 ||
      sizes[2] % core.heads != 0) {
    emit.fail("has impossible sizes of queries, keys and values");
  }
  ValueId rows = emit.op("MatMul", {x, node.inputs[1]});
  if (node.input(2) != kAbsent) rows = emit.op("Add", {rows, node.inputs[2]});
  std::vector<Expr> shape = expansion.shape(x);
  shape.back() = Expr(all);
  emit.graph().value(rows).shape = shape;
  core.width = sizes[0] / core.heads;
  core.value_width = sizes[2] / core.heads;
  core.q = emit.split_heads(rows, 0, core.heads, core.width);
  core.k = emit.split_heads(rows, sizes[0], core.heads, core.width);
  core.v = emit.split_heads(rows, sizes[0] + sizes[1], core.heads, core.value_width);
  Expr past(0);
  if (const ValueId packed = node.input(4); packed != kAbsent) {
    past = expansion.shape(packed).at(3);
    core.k = with_past(emit, half_of(emit, packed, 0), core.k);
    core.v = with_past(emit, half_of(emit, packed, 1), core.v);
  }
  core.scale = scale_of(node, core.width);
  if (node.input(5) != kAbsent) core.additive.push_back(node.inputs[5]);
  if (node.input(3) != kAbsent) add_key_mask(emit, node, node.inputs[3], past + tokens, core);
  if (node.integer("unidirectional", 0) != 0) core.allowed.push_back(emit.causal(past, tokens, 0));
  std::vector<ValueId> made{attend(emit, core)};
  if (node.outputs.size() > 1 && expansion.used(node.outputs[1])) {
    if (core.width != core.value_width) emit.fail("packs keys and values of different widths");
    made.push_back(emit.concat({emit.unsqueeze(core.k, {0}), emit.unsqueeze(core.v, {0})}, 0));
  }
  return made;
}

ValueId biased(Emitter& emit, ValueId rows, ValueId bias, int64_t column, int64_t width) {
  if (bias == kAbsent) return rows;
  const ValueId part = emit.op("Slice", {bias, emit.integers({column}),
                                         emit.integers({column + width}), emit.integers({0})});
  const ValueId sum = emit.op("Add", {rows, part});
  emit.graph().value(sum).shape = emit.expansion().shape(rows);
  return sum;
}

Replacement multi_head_attention(Emitter& emit, const Node& node) {
  Expansion& expansion = emit.expansion();
  Core core;
  core.heads = core.kv_heads = count_of(emit, node, "num_heads");
  if (node.input(8) != kAbsent || node.input(9) != kAbsent) {
    emit.fail("shares the buffer of past and present, which is unsupported");
  }
  const ValueId q = node.inputs[0], k = node.input(1), v = node.input(2);
  if (k == kAbsent || v == kAbsent || expansion.shape(q).size() != 3) {
    emit.fail("packs queries, keys and values, which is unsupported");
  }
  core.type = emit.graph().value(q).type;
  const ValueId bias = node.input(3);
  const int64_t q_width = expansion.number(q, 2);
  core.width = q_width / core.heads;
  core.q = emit.split_heads(biased(emit, q, bias, 0, q_width), 0, core.heads, core.width);
  Expr rows;
  if (expansion.shape(k).size() == 4) {
    core.k = k;
    core.v = v;
    rows = expansion.shape(k)[2];
    core.value_width = expansion.number(v, 3);
  } else {
    const int64_t k_width = expansion.number(k, 2), v_width = expansion.number(v, 2);
    if (k_width != q_width || v_width % core.heads != 0) emit.fail("has keys of another width");
    core.value_width = v_width / core.heads;
    core.k = emit.split_heads(biased(emit, k, bias, q_width, k_width), 0, core.heads, core.width);
    core.v = emit.split_heads(biased(emit, v, bias, 2 * q_width, v_width), 0, core.heads,
                              core.value_width);
    rows = expansion.shape(k)[1];
  }
  Expr past(0);
  if ((node.input(6) == kAbsent) != (node.input(7) == kAbsent)) {
    emit.fail("has a past of keys or of values but not of both");
  }
  if (node.input(6) != kAbsent) {
    past = expansion.shape(node.inputs[6]).at(2);
    core.k = with_past(emit, node.inputs[6], core.k);
    core.v = with_past(emit, node.inputs[7], core.v);
  }
  core.scale = scale_of(node, core.width);
  if (node.input(5) != kAbsent) core.additive.push_back(node.inputs[5]);
  if (node.input(4) != kAbsent) add_key_mask(emit, node, node.inputs[4], past + rows, core);
  if (node.integer("unidirectional", 0) != 0) {
    // The last row sees everything.
    const Expr tokens = expansion.shape(q)[1];
    core.allowed.push_back(emit.causal(past + rows - tokens, tokens, 0));
  }
  return std::vector<ValueId>{attend(emit, core), core.k, core.v};
}

void refuse_group_query_options(Emitter& emit, const Node& node) {
  if (node.integer("smooth_softmax", 0) > 0) emit.fail("uses smooth_softmax, which is unsupported");
  if (node.input(11) != kAbsent) emit.fail("uses head_sink, which is unsupported");
  if (node.input(12) != kAbsent || node.input(13) != kAbsent ||
      node.text("k_quant_type", "NONE") != "NONE" || node.text("v_quant_type", "NONE") != "NONE") {
    emit.fail("keeps a quantised cache, which is unsupported");
  }
  // The program's states hold every position, and the window's mask shows the same rows of them.
  if (node.integer("sliding_window_cache", 0) != 0 && node.integer("local_window_size", -1) < 1) {
    emit.fail("keeps a rolling cache (sliding_window_cache) without a local_window_size");
  }
  if (node.integer("qk_output", 0) != 0) emit.fail("returns scores, which is unsupported");
}

ValueId normalised(Emitter& emit, const Node& node, ValueId heads, ValueId weight) {
  if (weight == kAbsent) return heads;
  return emit.op("RMSNormalization", {heads, weight},
                 {{"axis", int64_t{-1}}, {"epsilon", node.real("qk_norm_epsilon", 1e-6f)}});
}

Replacement group_query_attention(Emitter& emit, const Node& node) {
  Expansion& expansion = emit.expansion();
  refuse_group_query_options(emit, node);
  Core core;
  core.heads = count_of(emit, node, "num_heads");
  core.kv_heads = count_of(emit, node, "kv_num_heads");
  if (core.heads % core.kv_heads != 0) emit.fail("has an impossible kv_num_heads");
  const ValueId query = node.inputs[0];
  core.type = emit.graph().value(query).type;
  const bool packed = node.input(1) == kAbsent;
  const int64_t all = expansion.number(query, 2);
  core.width = core.value_width = all / (packed ? core.heads + 2 * core.kv_heads : core.heads);
  core.q = emit.split_heads(query, 0, core.heads, core.width);
  if (packed) {
    core.k = emit.split_heads(query, core.heads * core.width, core.kv_heads, core.width);
    core.v = emit.split_heads(query, (core.heads + core.kv_heads) * core.width, core.kv_heads,
                              core.width);
  } else {
    core.k = emit.split_heads(node.inputs[1], 0, core.kv_heads, core.width);
    core.v = emit.split_heads(node.input(2), 0, core.kv_heads, core.width);
  }
  const Expr tokens = expansion.shape(query).at(1);
  const ValueId past_keys = node.input(3), past_values = node.input(4);
  const Expr past = past_keys == kAbsent ? Expr(0) : expansion.shape(past_keys).at(2);
  core.q = normalised(emit, node, core.q, node.input(14));
  core.k = normalised(emit, node, core.k, node.input(15));
  if (node.integer("do_rotary", 0) != 0) {
    const ValueId cosines = node.input(7), sines = node.input(8);
    if (cosines == kAbsent || sines == kAbsent) emit.fail("rotates without tables");
    const int64_t pairs = expansion.number(cosines, 1);
    const bool interleaved = node.integer("rotary_interleaved", 0) != 0;
    const ValueId positions =
        node.input(9) == kAbsent ? emit.positions(past, tokens) : node.inputs[9];
    const ValueId c = rotary_rows(emit, cosines, positions);
    const ValueId s = rotary_rows(emit, sines, positions);
    core.q = rotate(emit, core.q, core.width, c, s, pairs, interleaved);
    core.k = rotate(emit, core.k, core.width, c, s, pairs, interleaved);
  }
  core.k = with_past(emit, past_keys, core.k);
  core.v = with_past(emit, past_values, core.v);
  core.scale = scale_of(node, core.width);
  core.soft_cap = static_cast<double>(node.real("softcap", 0.0f));
  if (node.input(10) != kAbsent) core.additive.push_back(node.inputs[10]);
  if (node.integer("causal", 1) == 0) emit.fail("is not causal, which is unsupported");
  core.allowed.push_back(
      emit.causal(past, tokens, std::max<int64_t>(node.integer("local_window_size", -1), 0)));
  return std::vector<ValueId>{attend(emit, core), core.k, core.v};
}

Replacement standard_attention(Emitter& emit, const Node& node) {
  Expansion& expansion = emit.expansion();
  const bool scores_read = node.outputs.size() > 3 && expansion.used(node.outputs[3]);
  const bool causal = node.integer("is_causal", 0) != 0;
  const int64_t window = std::max<int64_t>(node.integer("left_window_size", -1) + 1, 0);
  const bool looks_ahead = node.integer("right_window_size", -1) >= 0 || (window > 0 && !causal);
  if (scores_read || looks_ahead || node.input(6) != kAbsent) {
    return std::nullopt;  // runs as it stands
  }
  Core core;
  const ValueId q = node.inputs[0], k = node.inputs[1], v = node.inputs[2];
  core.type = emit.graph().value(q).type;
  const bool by_head = expansion.shape(q).size() == 4;
  if (by_head) {
    core.heads = expansion.number(q, 1);
    core.kv_heads = expansion.number(k, 1);
    core.width = expansion.number(q, 3);
    core.value_width = expansion.number(v, 3);
    core.q = q;
    core.k = k;
    core.v = v;
  } else {
    core.heads = count_of(emit, node, "q_num_heads");
    core.kv_heads = count_of(emit, node, "kv_num_heads");
    core.width = expansion.number(q, 2) / core.heads;
    core.value_width = expansion.number(v, 2) / core.kv_heads;
    core.q = emit.split_heads(q, 0, core.heads, core.width);
    core.k = emit.split_heads(k, 0, core.kv_heads, core.width);
    core.v = emit.split_heads(v, 0, core.kv_heads, core.value_width);
  }
  if (core.kv_heads < 1 || core.heads % core.kv_heads != 0) emit.fail("has impossible heads");
  const Expr tokens = expansion.shape(q)[by_head ? 2 : 1];
  Expr columns = expansion.shape(k)[by_head ? 2 : 1], past(0);
  if (node.input(4) != kAbsent) {
    past = expansion.shape(node.inputs[4]).at(2);
    columns = past + columns;
    core.k = with_past(emit, node.inputs[4], core.k);
    core.v = with_past(emit, node.input(5), core.v);
  }
  core.scale = scale_of(node, core.width);
  core.soft_cap = static_cast<double>(node.real("softcap", 0.0f));
  if (const ValueId mask = node.input(3); mask != kAbsent) {
    const Expr width = expansion.shape(mask).back();
    if (!(width == columns) && !(width == Expr(1))) return std::nullopt;  // padded inside
    const bool boolean = emit.graph().value(mask).type == ElementType::boolean;
    (boolean ? core.allowed : core.additive).push_back(mask);
  }
  if (causal) {
    if (!(past + tokens == columns)) return std::nullopt;  // keys of another sequence
    core.allowed.push_back(emit.causal(past, tokens, window));
  }
  ValueId y = attend(emit, core);
  if (by_head) y = emit.expansion().heads_of.at(y);
  return std::vector<ValueId>{y, core.k, core.v};
}

}  // namespace

Replacement expand_attention(Emitter& emit, const Node& node) {
  if (node.op == "GroupQueryAttention") return group_query_attention(emit, node);
  if (node.op == "MultiHeadAttention") return multi_head_attention(emit, node);
  if (node.domain.empty()) return standard_attention(emit, node);
  return packed_attention(emit, node);
}

}  // namespace pocket::onnx_import
