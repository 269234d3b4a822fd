// Shape rules of fused operators (attention, rotation, norms with residuals) and of operators on
// integer codes.
#include <algorithm>

#include "converter/shape/rule.h"

namespace pocket::shape {

namespace {

using ir::ElementType;
using Outputs = std::vector<Output>;

void need_rank(const Call& call, size_t index, int64_t rank) {
  if (call.rank(index) == rank) return;
  call.fail("needs " + std::to_string(rank) + " dimensions in its input " + std::to_string(index) +
            " but has " + std::to_string(call.rank(index)));
}

int64_t count_of(const Call& call, const char* attribute) {
  const int64_t count = call.node.integer(attribute, 0);
  if (count < 1 || count > 1 << 20) call.fail(std::string("has an impossible ") + attribute);
  return count;
}

// Width of one of `parts` equal parts.
Expr part_of(const Call& call, const Expr& width, int64_t parts) {
  const Expr part = Expr::floordiv(width, parts);
  if (!(part * Expr(parts) == width)) {
    call.fail("cannot divide " + width.str() + " columns into " + std::to_string(parts) + " parts");
  }
  return part;
}

SymbolicShape with_last(SymbolicShape shape, const Expr& last) {
  shape.back() = last;
  return shape;
}

Outputs skip_norm(const Call& call) {
  const SymbolicShape shape = broadcast(call, call.shape(0), call.shape(1));
  if (shape.empty()) call.fail("needs rows");
  const Output statistics{ElementType::f32, with_last(shape, 1)};
  return {{call.type(), shape}, statistics, statistics, {call.type(), shape}};
}

Outputs embed_norm(const Call& call) {
  need_rank(call, 0, 2);
  need_rank(call, 2, 2);
  const Output rows{call.type(2), {call.shape(0)[0], call.shape(0)[1], call.shape(2)[1]}};
  return {rows, {ElementType::i32, {call.shape(0)[0]}}, rows};
}

Outputs packed_attention(const Call& call) {
  need_rank(call, 0, 3);
  need_rank(call, 1, 2);
  const SymbolicShape& x = call.shape(0);
  const int64_t heads = count_of(call, "num_heads");
  std::vector<int64_t> sizes = call.node.integers("qkv_hidden_sizes");
  const Expr values = sizes.size() == 3 ? Expr(sizes[2]) : part_of(call, call.shape(1)[1], 3);
  const Expr past = call.has(4) ? (need_rank(call, 4, 5), call.shape(4)[3]) : Expr(0);
  return {{call.type(), with_last(x, values)},
          {call.type(), {2, x[0], heads, past + x[1], part_of(call, values, heads)}}};
}

Outputs multi_head_attention(const Call& call) {
  need_rank(call, 0, 3);
  if (!call.has(1) || !call.has(2)) {
    call.fail("packs queries, keys and values, which is unsupported");
  }
  const int64_t heads = count_of(call, "num_heads");
  const SymbolicShape& q = call.shape(0);
  const auto present = [&](size_t fresh, size_t past) {
    const SymbolicShape& x = call.shape(fresh);
    if (x.size() == 4) return x;
    need_rank(call, fresh, 3);
    const Expr before = call.has(past) ? (need_rank(call, past, 4), call.shape(past)[2]) : Expr(0);
    return SymbolicShape{x[0], heads, before + x[1], part_of(call, x[2], heads)};
  };
  const SymbolicShape keys = present(1, 6), values = present(2, 7);
  return {{call.type(), with_last(q, values[3] * Expr(heads))},
          {call.type(), keys},
          {call.type(), values},
          {call.type(), {q[0], heads, q[1], keys[2]}}};
}

Outputs group_query_attention(const Call& call) {
  need_rank(call, 0, 3);
  const int64_t heads = count_of(call, "num_heads"), kv_heads = count_of(call, "kv_num_heads");
  const SymbolicShape& q = call.shape(0);
  const Expr width = part_of(call, q[2], call.has(1) ? heads : heads + 2 * kv_heads);
  const Expr past = call.has(3) ? (need_rank(call, 3, 4), call.shape(3)[2]) : Expr(0);
  const Output present{call.type(), {q[0], kv_heads, past + q[1], width}};
  return {{call.type(), with_last(q, width * Expr(heads))},
          present,
          present,
          {call.type(), {q[0], heads, q[1], past + q[1]}}};
}

Outputs standard_attention(const Call& call) {
  const auto heads_shape = [&](size_t index, const char* attribute) {
    const SymbolicShape& x = call.shape(index);
    if (x.size() == 4) return x;
    need_rank(call, index, 3);
    const int64_t heads = count_of(call, attribute);
    return SymbolicShape{x[0], heads, x[1], part_of(call, x[2], heads)};
  };
  const SymbolicShape q = heads_shape(0, "q_num_heads");
  SymbolicShape k = heads_shape(1, "kv_num_heads"), v = heads_shape(2, "kv_num_heads");
  if (call.has(4)) k[2] = (need_rank(call, 4, 4), call.shape(4)[2]) + k[2];
  if (call.has(5)) v[2] = (need_rank(call, 5, 4), call.shape(5)[2]) + v[2];
  const SymbolicShape y = call.rank(0) == 4 ? SymbolicShape{q[0], q[1], q[2], v[3]}
                                            : SymbolicShape{q[0], q[2], q[1] * v[3]};
  return {{call.type(), y},
          {call.type(), k},
          {call.type(2), v},
          {call.type(), {q[0], q[1], q[2], k[2]}}};
}

Outputs same(const Call& call) { return {{call.type(), call.shape(0)}}; }

Outputs dequantised(const Call& call) { return {{call.type(1), call.shape(0)}}; }

Outputs quantised(const Call& call) {
  ElementType type = call.has(2) ? call.type(2) : ElementType::u8;
  if (const int64_t given = call.node.integer("output_dtype", 0); given != 0) {
    type = ir::element_from_onnx(given);
  }
  if (!ir::is_integer_type(type)) call.fail("quantises to an unsupported type");
  return {{type, call.shape(0)}};
}

Outputs dynamic_quantised(const Call& call) {
  return {{ElementType::u8, call.shape(0)}, {ElementType::f32, {}}, {ElementType::u8, {}}};
}

SymbolicShape product_shape(const Call& call) {
  const SymbolicShape &a = call.shape(0), &b = call.shape(1);
  if (a.size() < 2 || b.size() < 2) call.fail("needs matrices");
  if (a.back().is_constant() && b[b.size() - 2].is_constant() && !(a.back() == b[b.size() - 2])) {
    call.fail("multiplies matrices that do not fit");
  }
  SymbolicShape shape = broadcast(call, {a.begin(), a.end() - 2}, {b.begin(), b.end() - 2});
  shape.push_back(a[a.size() - 2]);
  shape.push_back(b.back());
  return shape;
}

Outputs matmul_n_bits(const Call& call) {
  if (call.rank(0) < 1 || call.node.integer("N", 0) < 1) call.fail("has an impossible N");
  return {{call.type(), with_last(call.shape(0), call.node.integer("N", 0))}};
}

Outputs gather_block_quantised(const Call& call) {
  SymbolicShape data = call.shape(0);
  if (data.empty()) call.fail("needs a table");
  if (call.type() == ElementType::u8) {
    data.back() = data.back() * Expr(8 / std::clamp<int64_t>(call.node.integer("bits", 4), 1, 8));
  }
  const int64_t axis = call.axis(call.node.integer("gather_axis", 0), call.rank(0));
  const SymbolicShape& indices = call.shape(1);
  SymbolicShape shape(data.begin(), data.begin() + axis);
  shape.insert(shape.end(), indices.begin(), indices.end());
  shape.insert(shape.end(), data.begin() + axis + 1, data.end());
  return {{call.type(2), std::move(shape)}};
}

Outputs fused_matmul(const Call& call) {
  SymbolicShape a = call.shape(0), b = call.shape(1);
  if (a.size() < 2 || b.size() < 2) call.fail("needs matrices");
  const auto batch_first = [](SymbolicShape& x) {
    std::rotate(x.begin(), x.begin() + 1, x.end() - 1);
  };
  if (call.node.integer("transBatchA", 0) != 0) batch_first(a);
  if (call.node.integer("transBatchB", 0) != 0) batch_first(b);
  if (call.node.integer("transA", 0) != 0) std::swap(a[a.size() - 2], a.back());
  if (call.node.integer("transB", 0) != 0) std::swap(b[b.size() - 2], b.back());
  SymbolicShape shape = broadcast(call, {a.begin(), a.end() - 2}, {b.begin(), b.end() - 2});
  shape.push_back(a[a.size() - 2]);
  shape.push_back(b.back());
  return {{call.type(), std::move(shape)}};
}

Outputs arg_extreme(const Call& call) {
  SymbolicShape shape = call.shape(0);
  const int64_t axis = call.axis(call.node.integer("axis", 0), call.rank(0));
  if (call.node.integer("keepdims", 1) != 0)
    shape[at(axis)] = 1;
  else
    shape.erase(shape.begin() + axis);
  return {{ElementType::i64, std::move(shape)}};
}

Outputs one_hot(const Call& call) {
  SymbolicShape shape = call.shape(0);
  const int64_t axis = call.axis(call.node.integer("axis", -1), call.rank(0) + 1);
  const ir::Value& depth = call.input(1);
  if (depth.constant && !ir::is_integer_type(depth.type) && depth.constant->elements() == 1) {
    shape.insert(shape.begin() + axis, static_cast<int64_t>(depth.constant->as_floats()[0]));
  } else {
    const std::vector<Expr> known = call.elements(1);
    if (known.size() != 1) call.fail("needs one depth");
    shape.insert(shape.begin() + axis, known[0]);
  }
  return {{call.type(2), std::move(shape)}};
}

// How many elements are not zero follows from contents only.
Outputs non_zero(const Call& call) {
  const ir::Value& x = call.input(0);
  if (!x.constant || (x.constant->bytes == nullptr && x.constant->byte_size > 0) ||
      x.constant->elements() > int64_t{1} << 21) {
    throw Unresolved{"it counts elements of a value that is not constant"};
  }
  const std::vector<float> values = x.constant->as_floats();
  const auto count =
      static_cast<int64_t>(values.size()) - std::count(values.begin(), values.end(), 0.0f);
  return {{ElementType::i64, {call.rank(0), count}}};
}

Outputs pad(const Call& call) {
  SymbolicShape shape = call.shape(0);
  const auto pads = call.list(1, "pads");
  if (!pads) call.fail("has no pads");
  std::vector<int64_t> axes(shape.size());
  for (size_t d = 0; d < axes.size(); ++d) axes[d] = static_cast<int64_t>(d);
  axes = call.numbers(3, "axes").value_or(axes);
  if (pads->size() != 2 * axes.size()) call.fail("has another number of pads than of axes");
  for (size_t k = 0; k < axes.size(); ++k) {
    Expr& dim = shape[at(call.axis(axes[k], call.rank(0)))];
    dim = dim + (*pads)[k] + (*pads)[k + axes.size()];
    if (!call.proven_le(0, dim)) throw Unresolved{"dimension " + dim.str() + " may be negative"};
  }
  return {{call.type(), std::move(shape)}};
}

}  // namespace

void add_fused_rules(Rules& rules) {
  constexpr const char* kMicrosoft = "com.microsoft";
  for (const char* op : {"SkipLayerNormalization", "SkipSimplifiedLayerNormalization"}) {
    rules[{kMicrosoft, op}] = skip_norm;
  }
  rules[{kMicrosoft, "EmbedLayerNormalization"}] = embed_norm;
  rules[{kMicrosoft, "Attention"}] = packed_attention;
  rules[{kMicrosoft, "MultiHeadAttention"}] = multi_head_attention;
  rules[{kMicrosoft, "GroupQueryAttention"}] = group_query_attention;
  rules[{"", "Attention"}] = standard_attention;
  for (const char* domain : {"", kMicrosoft}) {
    rules[{domain, "RotaryEmbedding"}] = same;
    rules[{domain, "DequantizeLinear"}] = dequantised;
    rules[{domain, "QuantizeLinear"}] = quantised;
  }
  rules[{kMicrosoft, "BiasGelu"}] = same;
  rules[{"", "DynamicQuantizeLinear"}] = dynamic_quantised;
  rules[{"", "MatMulInteger"}] = [](const Call& call) {
    return Outputs{{ElementType::i32, product_shape(call)}};
  };
  rules[{kMicrosoft, "MatMulIntegerToFloat"}] = [](const Call& call) {
    return Outputs{{call.type(3), product_shape(call)}};
  };
  rules[{kMicrosoft, "DynamicQuantizeMatMul"}] = [](const Call& call) {
    return Outputs{{call.type(), product_shape(call)}};
  };
  rules[{kMicrosoft, "MatMulNBits"}] = matmul_n_bits;
  rules[{kMicrosoft, "GatherBlockQuantized"}] = gather_block_quantised;
  rules[{kMicrosoft, "FusedMatMul"}] = fused_matmul;
  rules[{"", "ArgMax"}] = arg_extreme;
  rules[{"", "ArgMin"}] = arg_extreme;
  rules[{"", "OneHot"}] = one_hot;
  rules[{"", "NonZero"}] = non_zero;
  rules[{"", "Pad"}] = pad;
}

}  // namespace pocket::shape
