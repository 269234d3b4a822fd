#include <algorithm>
#include <bit>

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

namespace {

// Positions of the states that one part of decode attention should hold at least.
constexpr int64_t kLeastPart = 256;

struct AttentionPlan {
  const Operator* op = nullptr;
  View q, k_state, v_state, out;
  WeightId slopes = kNone;
  int64_t capacity = 0;  // rows of the states
  bool wide = false;     // a load brings 8 elements of a state
  bool texels = false;   // which may be a texel, no more of them than a view may hold
};

AttentionPlan attention_plan(const KernelContext& context, int32_t op) {
  const Operator& o = op_at(context, op);
  AttentionPlan plan;
  plan.op = &o;
  plan.q = view(context, o.inputs.at(0), Access::read);
  plan.k_state = view(context, o.inputs.at(1), Access::read);
  plan.v_state = view(context, o.inputs.at(2), Access::read);
  plan.out = view(context, o.outputs.at(0), Access::write);
  if (plan.k_state.dtype != plan.v_state.dtype) {
    throw Error(ExitCode::bad_input,
                "the K and V states of '" + o.name + "' differ in type; convert the model again");
  }
  plan.slopes = o.weights.empty() ? kNone : o.weights.at(0);
  if (plan.slopes != kNone && presence(context, plan.slopes) != 1) {
    throw Error(ExitCode::bad_input, "the slopes of '" + o.name + "' are not f32; convert again");
  }
  plan.capacity = state_rows(context, o.inputs.at(1));
  plan.wide = plan.k_state.dtype == DType::f16 && o.attributes.head_dim % 8 == 0;
  plan.texels = plan.wide && plan.k_state.operand.bytes / 16 <= context.limits.max_texels;
  return plan;
}

const KernelConfig& attention_config(const KernelContext& context, const AttentionPlan& plan,
                                     Kernel kernel) {
  const Attributes& a = plan.op->attributes;
  const auto bucket = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(plan.capacity)));
  return choose(context,
                {kernel,
                 {.rows = plan.capacity,
                  .tokens = plan.out.rows,
                  .head_dim = u32(a.head_dim),
                  .aligned = plan.wide,
                  .texels = plan.texels},
                 std::to_string(a.heads) + " / " + std::to_string(a.kv_heads) + " heads of " +
                     std::to_string(a.head_dim) + (plan.wide ? "" : " narrow") + ", context from " +
                     std::to_string(bucket)});
}

// What both attention kernels take; the grid is the caller's.
Dispatch attention_dispatch(const KernelContext& context, const AttentionPlan& plan, int32_t op,
                            const KernelConfig& config, uint32_t queries) {
  const Attributes& a = plan.op->attributes;
  Dispatch d;
  d.shader = kernel_name(config.kernel);
  if (one_subgroup(config)) d.shader += "_lanes";
  if (config.texels) {
    d.shader += "_tx";
  } else if (config.subgroup) {
    d.shader += "_sg";
  }
  d.specialization = {config.lanes,
                      u32(a.head_dim),
                      plan.q.is_f16(),
                      plan.out.is_f16(),
                      plan.k_state.is_f16(),
                      plan.wide ? 1u : 0u,
                      queries,
                      a.window != 0 ? 1u : 0u,
                      a.soft_cap != 0.0f ? 1u : 0u,
                      plan.slopes != kNone ? 1u : 0u};
  d.operands = {step_record(),        plan.q.operand,
                plan.k_state.operand, plan.v_state.operand,
                plan.out.operand,     vector_window(context, plan.slopes, 0, a.heads).operand};
  if (config.texels) d.operands[2].texel_words = d.operands[3].texel_words = 4;
  d.push_constants = {u32(a.heads),          u32(a.kv_heads),     u32(plan.out.rows),
                      u32(plan.capacity),    float_bits(a.scale), u32(a.window),
                      float_bits(a.soft_cap)};
  d.op = op;
  d.label = plan.op->name;
  d.config = config.str();
  // Work at half of the context, the mean over a full run; rows beyond the window are not read.
  const int64_t seen =
      a.window == 0 ? plan.capacity : std::min<int64_t>(plan.capacity, 2 * int64_t{a.window});
  d.flops = 2 * static_cast<uint64_t>(plan.out.rows * a.heads * a.head_dim * seen);
  return d;
}

// Checks, and takes off the rows of the states that lie beyond the window.
Dispatch finish_attention(const KernelContext& context, const AttentionPlan& plan, Dispatch d) {
  const int64_t window = plan.op->attributes.window;
  Dispatch checked = finish(context, std::move(d));
  const int64_t rows = window == 0 ? plan.capacity : window + plan.out.rows - 1;
  if (rows < plan.capacity) {
    const auto skipped = static_cast<uint64_t>(plan.capacity - rows) *
                         (plan.k_state.operand.bytes / static_cast<uint64_t>(plan.capacity));
    checked.bytes_read -= 2 * skipped;
  }
  return checked;
}

// Parts of the context: as many as fill the device, none shorter than what repays the second
// dispatch, and all of them in one binding of scratch.
uint32_t decode_parts(const KernelContext& context, const AttentionPlan& plan, uint32_t splits,
                      uint32_t workgroups) {
  const Attributes& a = plan.op->attributes;
  const int64_t seen = a.window == 0 ? plan.capacity : std::min<int64_t>(plan.capacity, a.window);
  const int64_t part_bytes = int64_t{4} * a.heads * (a.head_dim + 2);
  const auto binding =
      static_cast<int64_t>(std::min<uint64_t>(context.limits.max_binding, uint64_t{1} << 40));
  const int64_t most = std::min(seen / kLeastPart, binding / part_bytes);
  const int64_t wanted = (splits + workgroups - 1) / workgroups;
  return u32(std::max<int64_t>(1, std::min(wanted, most)));
}

std::vector<Dispatch> plan_decode_attention(const KernelContext& context, const AttentionPlan& plan,
                                            int32_t op) {
  const Attributes& a = plan.op->attributes;
  const KernelConfig& config = attention_config(context, plan, Kernel::attention_decode);
  const uint32_t group = u32(a.heads / a.kv_heads);
  const uint32_t queries = decode_queries(config, group, u32(a.head_dim));
  const uint32_t workgroups = u32(a.kv_heads) * ((group + queries - 1) / queries);
  const uint32_t parts = decode_parts(context, plan, config.splits, workgroups);
  Dispatch d = attention_dispatch(context, plan, op, config, queries);
  d.specialization.push_back(parts);
  d.groups = {workgroups, parts, 1};
  if (parts == 1) return {finish_attention(context, plan, std::move(d))};

  Operand partial;
  partial.kind = Operand::Kind::scratch;
  partial.bytes = uint64_t{4} * parts * u32(a.heads) * u32(a.head_dim + 2);
  partial.access = Access::write;
  d.operands[4] = partial;
  const KernelConfig& map = choose_config(Kernel::map, context.limits, {});
  Dispatch combine;
  combine.shader = "attention_combine";
  // Constants that the kernel does not declare are ignored.
  combine.specialization = {map.lanes, u32(a.head_dim), 0, plan.out.is_f16(), 0, 0, 0, 0, 0, 0,
                            parts};
  partial.access = Access::read;
  combine.operands = {step_record(), partial, plan.out.operand};
  combine.push_constants = {u32(a.heads), u32(plan.capacity), u32(a.window)};
  combine.groups = {groups_for(int64_t{a.heads} * (a.head_dim / 2), map.lanes), 1, 1};
  combine.op = op;
  combine.label = plan.op->name + " combine";
  combine.config = map.str();
  combine.flops = uint64_t{2} * parts * u32(a.heads) * u32(a.head_dim);
  return {finish_attention(context, plan, std::move(d)), finish(context, std::move(combine))};
}

}  // namespace

std::vector<Dispatch> plan_attention(const KernelContext& context, int32_t op) {
  const AttentionPlan plan = attention_plan(context, op);
  if (plan.out.rows == 1) return plan_decode_attention(context, plan, op);
  const Attributes& a = plan.op->attributes;
  const KernelConfig& config = attention_config(context, plan, Kernel::attention_prefill);
  Dispatch d = attention_dispatch(context, plan, op, config, config.tokens);
  d.groups = {groups_for(plan.out.rows * (a.heads / a.kv_heads), config.tokens), u32(a.kv_heads),
              1};
  return {finish_attention(context, plan, std::move(d))};
}

}  // namespace pocket::planning
