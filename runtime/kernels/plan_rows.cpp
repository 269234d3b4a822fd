#include <algorithm>

#include "runtime/base/error.h"
#include "runtime/kernels/plan_support.h"
#include "runtime/kernels/planners.h"

namespace pocket::planning {
namespace {

const Operator& op_at(const KernelContext& context, int32_t op) {
  return context.manifest->program.operators.at(static_cast<size_t>(op));
}

int32_t at_or_none(const std::vector<int32_t>& ids, size_t i) {
  return i < ids.size() ? ids[i] : kNone;
}

Operand or_unused(const View& v) { return v.operand.bytes == 0 ? unused() : v.operand; }

}  // namespace

std::vector<Dispatch> plan_norm(const KernelContext& context, int32_t op) {
  const Operator& o = op_at(context, op);
  const View x = view(context, o.inputs.at(0), Access::read);
  const View residual = view(context, at_or_none(o.inputs, 1), Access::read);
  const View out = view(context, o.outputs.at(0), Access::write);
  const View sum = view(context, at_or_none(o.outputs, 1), Access::write);
  const WeightId scale = at_or_none(o.weights, 0);
  const WeightId bias = at_or_none(o.weights, 1);
  const KernelConfig& config = choose(
      context, {Kernel::norm, {.tokens = x.rows}, "of " + std::to_string(x.width) + " columns"});
  Dispatch d;
  d.shader = config.subgroup ? "norm_sg" : "norm";
  d.specialization = {config.lanes,
                      o.attributes.norm == NormKind::layer ? 1u : 0u,
                      x.is_f16(),
                      presence(residual),
                      presence(context, scale),
                      presence(context, bias),
                      out.is_f16(),
                      presence(sum)};
  d.operands = {step_record(),
                x.operand,
                or_unused(residual),
                vector_window(context, scale, 0, x.width).operand,
                vector_window(context, bias, 0, x.width).operand,
                out.operand,
                or_unused(sum)};
  // A binding that is switched off is declared writeonly; the record is never written through it.
  d.push_constants = {u32(x.width), in_body(context, op) ? 1u : 0u,
                      float_bits(o.attributes.epsilon)};
  d.groups = {u32(x.rows), 1, 1};
  d.op = op;
  d.label = o.name;
  d.config = config.str();
  d.flops = 6 * static_cast<uint64_t>(x.rows * x.width);
  return {finish(context, std::move(d))};
}

namespace {

uint32_t binary_operation(BinaryKind kind) {
  switch (kind) {
    case BinaryKind::add:
      return 1;
    case BinaryKind::mul:
      return 2;
    case BinaryKind::sub:
      return 4;
    case BinaryKind::div:
      return 5;
  }
  return 1;
}

}  // namespace

std::vector<Dispatch> plan_elementwise(const KernelContext& context, int32_t op) {
  const Operator& o = op_at(context, op);
  const View a = view(context, o.inputs.at(0), Access::read);
  const View b = view(context, at_or_none(o.inputs, 1), Access::read);
  const View out = view(context, o.outputs.at(0), Access::write);
  const WeightId vector = at_or_none(o.weights, 0);
  const KernelConfig& config = choose_config(Kernel::map, context.limits, {.tokens = out.rows});
  uint32_t operation = 0;
  if (o.kind == OpKind::binary) operation = binary_operation(o.attributes.binary);
  if (o.kind == OpKind::select_rows) operation = 3;
  const bool b_is_row = o.kind == OpKind::binary && b.operand.bytes == 0;
  const uint32_t b_f16 = b_is_row ? presence(context, vector) - 1 : b.is_f16();
  Dispatch d;
  d.shader = "elementwise";
  d.specialization = {config.lanes,
                      operation,
                      a.is_f16(),
                      b_f16,
                      out.is_f16(),
                      b_is_row ? 1u : 0u,
                      static_cast<uint32_t>(o.attributes.activation)};
  d.operands = {step_record(), a.operand,
                b_is_row ? vector_window(context, vector, 0, out.width).operand : or_unused(b),
                out.operand};
  d.push_constants = {u32(out.width), u32(out.rows), in_body(context, op) ? 1u : 0u, u32(a.rows),
                      float_bits(o.attributes.scale)};
  d.groups = {groups_for((out.width + 1) / 2, config.lanes), u32(out.rows), 1};
  d.op = op;
  d.label = o.name;
  d.config = config.str();
  d.flops = static_cast<uint64_t>(out.rows * out.width);
  return {finish(context, std::move(d))};
}

std::vector<Dispatch> plan_embed(const KernelContext& context, int32_t op) {
  const Operator& o = op_at(context, op);
  const KernelConfig& config = choose_config(Kernel::map, context.limits, {});
  std::vector<Dispatch> dispatches;
  const bool alone = o.weights.at(0) == kNone;  // learned positions are written, not added
  const auto gather = [&](WeightId id, bool by_position) {
    const bool adds = by_position && !alone;
    const WeightFormat& format = weight(context, id).format;
    if (format.encoding == Encoding::any || format.encoding == Encoding::w8a8) {
      throw Error(ExitCode::bad_input, "the table of '" + o.name + "' is packed as " +
                                           encoding_name(format.encoding) +
                                           ", which serves matrices only; convert the model again");
    }
    for (const RowRange& range : row_ranges(context, {id})) {
      const WeightRange weights = weight_range(context, id, range);
      const View out = view(context, o.outputs.at(0), adds ? Access::read_write : Access::write);
      const int64_t units = static_cast<int64_t>(format.code_row_bytes() / 16);
      const bool codes4 = format.pair_bytes() != 0;
      Dispatch d;
      d.shader = format.group == 16 ? "embed_g16" : "embed";
      d.specialization = {config.lanes, static_cast<uint32_t>(format.encoding),
                          by_position ? 1u : 0u, adds ? 1u : 0u, out.is_f16()};
      d.operands = {step_record(), token_ids(context, Access::read), weights.codes, weights.pairs,
                    out.operand};
      d.push_constants = {u32(out.width),
                          u32(units),
                          u32(range.first),
                          u32(range.rows),
                          codes4 ? u32(std::max<int64_t>(1, format.group / 32)) : 1,
                          codes4 ? u32(format.groups()) : 0,
                          weights.pairs_base,
                          static_cast<uint32_t>(static_cast<int32_t>(o.attributes.position_offset)),
                          float_bits(by_position ? 1.0f : o.attributes.scale)};
      d.groups = {groups_for(units, config.lanes), u32(out.rows), 1};
      d.op = op;
      d.label = o.name + (by_position ? " positions" : "");
      d.config = config.str();
      // A row a token, not the table.
      d.bytes_read = static_cast<uint64_t>(out.rows) *
                     (format.code_row_bytes() + static_cast<uint64_t>(format.groups()) * 4);
      Dispatch checked = finish(context, d);
      checked.bytes_read = d.bytes_read;
      dispatches.push_back(std::move(checked));
    }
  };
  if (!alone) gather(o.weights.at(0), false);
  if (const WeightId positions = at_or_none(o.weights, 1); positions != kNone) {
    gather(positions, true);
  }
  return dispatches;
}

}  // namespace pocket::planning
