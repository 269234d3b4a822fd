#include <algorithm>

#include "runtime/base/error.h"
#include "runtime/kernels/plan_support.h"
#include "runtime/kernels/planners.h"

namespace pocket::planning {
namespace {

const Operator& op_at(const KernelContext& context, int32_t op) {
  return context.manifest->program.operators.at(static_cast<size_t>(op));
}

// Rows of the states: [context, kv_heads, head_dim].
int64_t state_rows(const KernelContext& context, TensorId id) {
  const Tensor& state = context.manifest->program.tensors.at(static_cast<size_t>(id));
  return state.shape.at(0).evaluate(context.bindings);
}

// 0 none, 1 one norm weight for all heads, 2 one for each: as the kernel names it.
uint32_t head_norm(const KernelContext& context, WeightId id, int64_t head_dim) {
  if (id == kNone) return 0;
  if (presence(context, id) != 1) {
    throw Error(ExitCode::bad_input, "the norm weight '" + weight(context, id).name +
                                         "' of heads is not f32; convert the model again");
  }
  return weight(context, id).format.columns == head_dim ? 1 : 2;
}

}  // namespace

std::vector<Dispatch> plan_rotary_kv(const KernelContext& context, int32_t op) {
  const Operator& o = op_at(context, op);
  const Attributes& a = o.attributes;
  const View q = view(context, o.inputs.at(0), Access::read);
  const View k = view(context, o.inputs.at(1), Access::read);
  const View v = view(context, o.inputs.at(2), Access::read);
  const View k_state = view(context, o.inputs.at(3), Access::write);
  const View v_state = view(context, o.inputs.at(4), Access::write);
  const View out = view(context, o.outputs.at(0), Access::write);
  if (k_state.dtype != v_state.dtype) {
    throw Error(ExitCode::bad_input,
                "the K and V states of '" + o.name + "' differ in type; convert the model again");
  }
  const int64_t capacity = state_rows(context, o.inputs.at(3));
  Operand table = unused();
  int64_t half = 0, long_from = 0;
  bool is_long = false;
  if (a.rotary_dim != 0) {
    const RopeTable& rope =
        context.manifest->program.rope_tables.at(static_cast<size_t>(a.rope_table));
    half = rope.half();
    is_long = rope.variants() == 2;
    long_from = rope.long_from;
    table.kind = Operand::Kind::rope_table;
    table.id = a.rope_table;
    table.bytes = static_cast<uint64_t>(rope.variants() * capacity * 2 * half * 4);
  }
  const WeightId q_norm = o.weights.empty() ? kNone : o.weights.at(0);
  const WeightId k_norm = o.weights.empty() ? kNone : o.weights.at(1);
  const bool normed = q_norm != kNone || k_norm != kNone;
  const KernelConfig& config = choose_config(Kernel::map, context.limits, {});
  Dispatch d;
  d.shader = normed ? "rotary_kv_norm" : "rotary_kv";
  d.specialization = {config.lanes,
                      q.is_f16(),
                      k.is_f16(),
                      v.is_f16(),
                      k_state.is_f16(),
                      out.is_f16(),
                      a.interleaved ? 1u : 0u,
                      is_long ? 1u : 0u};
  d.operands = {step_record(), q.operand,   k.operand,       v.operand,
                table,         out.operand, k_state.operand, v_state.operand};
  d.push_constants = {u32(a.heads),         u32(a.kv_heads), u32(a.head_dim), u32(half),
                      u32(a.q_column),      u32(a.k_column), u32(a.v_column), u32(q.width),
                      u32(k.width),         u32(v.width),    u32(capacity),   u32(long_from),
                      float_bits(a.epsilon)};
  const int64_t heads = int64_t{a.heads} + 2 * int64_t{a.kv_heads};
  const int64_t words = heads * (a.head_dim / 2);
  d.groups = {groups_for(words, config.lanes), u32(out.rows), 1};
  if (normed) {
    d.specialization.push_back(a.norm == NormKind::layer ? 1 : 0);
    d.specialization.push_back(head_norm(context, q_norm, a.head_dim));
    d.specialization.push_back(head_norm(context, k_norm, a.head_dim));
    for (const WeightId id : {q_norm, k_norm}) {
      const int64_t width = id == kNone ? 0 : weight(context, id).format.columns;
      d.operands.push_back(vector_window(context, id, 0, width).operand);
    }
    d.groups[0] = u32(heads);
  }
  d.op = op;
  d.label = o.name;
  d.config = config.str();
  d.flops = 6 * static_cast<uint64_t>(words * out.rows);
  Dispatch checked = finish(context, std::move(d));
  // The step touches its own rows of the states and of the table, not all of them.
  const auto rows = static_cast<uint64_t>(out.rows);
  checked.bytes_read =
      q.operand.bytes + k.operand.bytes + v.operand.bytes + rows * static_cast<uint64_t>(8 * half);
  checked.bytes_written =
      out.operand.bytes +
      rows * 2 *
          static_cast<uint64_t>(a.kv_heads * a.head_dim * (k_state.dtype == DType::f16 ? 2 : 4));
  return {checked};
}

std::vector<Dispatch> plan_attention(const KernelContext& context, int32_t op) {
  const Operator& o = op_at(context, op);
  const Attributes& a = o.attributes;
  const View q = view(context, o.inputs.at(0), Access::read);
  const View k_state = view(context, o.inputs.at(1), Access::read);
  const View v_state = view(context, o.inputs.at(2), Access::read);
  const View out = view(context, o.outputs.at(0), Access::write);
  if (k_state.dtype != v_state.dtype) {
    throw Error(ExitCode::bad_input,
                "the K and V states of '" + o.name + "' differ in type; convert the model again");
  }
  const bool one = out.rows == 1;
  const Kernel kernel = one ? Kernel::attention_decode : Kernel::attention_prefill;
  const KernelConfig& config =
      choose_config(kernel, context.limits, {.tokens = out.rows, .head_dim = u32(a.head_dim)});
  const bool wide = k_state.dtype == DType::f16 && a.head_dim % 8 == 0;
  Dispatch d;
  d.shader = std::string(kernel_name(kernel)) + (config.subgroup ? "_sg" : "");
  d.specialization = {config.lanes, u32(a.head_dim),  q.is_f16(),
                      out.is_f16(), k_state.is_f16(), wide ? 1u : 0u};
  const WeightId slopes = o.weights.empty() ? kNone : o.weights.at(0);
  if (slopes != kNone && presence(context, slopes) != 1) {
    throw Error(ExitCode::bad_input, "the slopes of '" + o.name + "' are not f32; convert again");
  }
  d.specialization.push_back(one ? 0 : config.tokens);
  d.specialization.push_back(a.window != 0 ? 1 : 0);
  d.specialization.push_back(a.soft_cap != 0.0f ? 1 : 0);
  d.specialization.push_back(slopes != kNone ? 1 : 0);
  d.operands = {step_record(),   q.operand,   k_state.operand,
                v_state.operand, out.operand, vector_window(context, slopes, 0, a.heads).operand};
  const int64_t capacity = state_rows(context, o.inputs.at(1));
  d.push_constants = {u32(a.heads),        u32(a.kv_heads), u32(out.rows),         u32(capacity),
                      float_bits(a.scale), u32(a.window),   float_bits(a.soft_cap)};
  if (one) {
    d.groups = {u32(a.heads), 1, 1};
  } else {
    d.groups = {groups_for(out.rows * (a.heads / a.kv_heads), config.tokens), u32(a.kv_heads), 1};
  }
  d.op = op;
  d.label = o.name;
  d.config = config.str();
  // Work at half of the context, the mean over a full run; rows beyond the window are not read.
  const int64_t seen =
      a.window == 0 ? capacity : std::min<int64_t>(capacity, 2 * int64_t{a.window});
  d.flops = 2 * static_cast<uint64_t>(out.rows * a.heads * a.head_dim * seen);
  Dispatch checked = finish(context, std::move(d));
  const int64_t rows = a.window == 0 ? capacity : int64_t{a.window} + out.rows - 1;
  if (rows < capacity) {
    const auto skipped = static_cast<uint64_t>(capacity - rows) *
                         (k_state.operand.bytes / static_cast<uint64_t>(capacity));
    checked.bytes_read -= 2 * skipped;
  }
  return {checked};
}

}  // namespace pocket::planning
