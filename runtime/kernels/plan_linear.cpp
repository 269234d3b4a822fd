#include <algorithm>
#include <string>

#include "runtime/base/checked.h"
#include "runtime/kernels/plan_support.h"
#include "runtime/kernels/planners.h"

namespace pocket::planning {
namespace {

// Everything a matrix kernel needs to know apart from the row range.
struct Matmul {
  int32_t op = 0;
  View x;
  View out;
  View combine;               // bytes == 0: none
  uint32_t combine_mode = 0;  // COMBINE of shaders/common/matmul.glsl
  WeightId matrix = kNone, up = kNone;
  WeightId bias = kNone, up_bias = kNone;
  Activation activation = Activation::none;
  Operand made;  // in scratch, of x: its codes for 8 bits, the sums of its groups for 4
};

// A unit of 32 weights holds two groups of 16: they have kernels of their own, of one matrix, in f32.
constexpr int64_t kHalfUnit = 16;

bool products_in_half(const KernelContext& context, const WeightFormat& format) {
  return context.accumulate == Accumulate::fp16 && context.limits.fp16_arithmetic &&
         (format.encoding == Encoding::f16 || (format.four_bit() && format.group != kHalfUnit));
}

// The kernels of w8a8: how they multiply, apart from how they exchange values.
std::string w8a8_suffix(const KernelContext& context, bool gated, const KernelConfig& config) {
  std::string text = gated ? "_gated" : "";
  if (config.texels) return text + "_tx";
  const DotForm form = dot_form(context.limits);
  if (form == DotForm::both_signed) text += "_sdot";
  if (form == DotForm::mixed) text += "_sudot";
  return config.subgroup ? text + "_sg" : text;
}

// Decode with subgroups makes the codes of the one row on the way: each subgroup does it for the
// columns it reads, a few instructions beside ROWS * 16 products, where a dispatch of its own would
// cost its start and a barrier. In prefill the row would be made again by each of rows / (lanes *
// rows of a lane) workgroups, and without subgroups by every lane: there a dispatch makes them once.
bool reads_codes(int64_t tokens, const KernelConfig& config) {
  return tokens != 1 || !config.subgroup;
}

// In prefill the activation sums of 4-bit groups, which each workgroup would make again, are made once;
// in decode a dispatch and its barrier would cost more than the few additions.
bool reads_sums(const WeightFormat& format, int64_t tokens) {
  return format.four_bit() && tokens != 1;
}

std::string suffix(const KernelContext& context, const Matmul& m, const KernelConfig& config) {
  const WeightFormat& format = weight(context, m.matrix).format;
  const Encoding encoding = format.encoding;
  std::string text = std::string("_") + encoding_name(encoding);
  if (encoding == Encoding::any) return text;  // one plain form, of one matrix
  if (encoding == Encoding::w8a8) return w8a8_suffix(context, m.up != kNone, config);
  if (m.up != kNone) text += "_gated";
  if (format.group == kHalfUnit) text += "_g16";
  if (products_in_half(context, format)) text += "_half";
  if (config.texels) return text + "_tx";
  if (config.subgroup) text += "_sg";
  return text;
}

// Whether every row of the activations and the ranges of weights are whole texels, no more of them
// than a view may hold. Codes are units of 16 bytes, pairs and sums words.
bool fits_texels(const KernelContext& context, const Matmul& m, const WeightRange& weights) {
  const auto row_bytes = static_cast<uint64_t>(m.x.width * (m.x.is_f16() != 0 ? 2 : 4));
  const uint64_t most = context.limits.max_texels;
  const WeightFormat& format = weight(context, m.matrix).format;
  // Scales are read once a result, from a buffer; codes are whole texels always.
  if (format.encoding == Encoding::w8a8) {
    return (m.x.rows != 1 || row_bytes % 16 == 0) && m.x.operand.bytes / 16 <= most &&
           m.made.bytes / 16 <= most && weights.codes.bytes / 16 <= most;
  }
  return !products_in_half(context, format) && format.encoding != Encoding::any &&
         row_bytes % 16 == 0 && m.x.operand.bytes / 16 <= most &&
         weights.codes.bytes / 16 <= most && weights.pairs.bytes / 4 <= most &&
         m.made.bytes / 4 <= most;
}

// A row that was asked for by its numbers is run as it is or not at all.
void require_valid(const KernelContext& context, const ConfigRequest& request) {
  const KernelConfig& row = *context.forced;
  const DeviceLimits& limits = context.limits;
  if (row.kernel == request.kernel && valid(row, limits, request.shape)) return;
  throw Error(ExitCode::usage,
              "the configuration " + row.str() + " is not valid for " + request.key() + " on " +
                  limits.name + ": it takes " + std::to_string(row.lanes * row.splits) +
                  " invocations (limit " + std::to_string(limits.max_invocations) + ") and " +
                  std::to_string(shared_bytes(row, request.shape)) +
                  " bytes of shared memory (limit " + std::to_string(limits.shared_memory) +
                  "), rows must be even, activation rows of a lane at most " +
                  std::to_string(kMostTileTokens) + ", and subgroup operations need at least " +
                  std::to_string(broadcast_lanes(limits)) +
                  " lanes; choose another row, pocket_kernel_lab --all lists the valid ones");
}

Dispatch plan_range(const KernelContext& context, const Matmul& m, const RowRange& range,
                    const std::string& label) {
  const WeightFormat& format = weight(context, m.matrix).format;
  const bool codes4 = format.four_bit();
  const bool planes = format.encoding == Encoding::any;
  const bool gated = m.up != kNone;
  const int64_t tokens = m.x.rows;
  const bool w8a8 = format.encoding == Encoding::w8a8;
  const Kernel kernel = matrix_kernel(format.encoding, tokens);
  const WeightRange weights = weight_range(context, m.matrix, range);
  const KernelShape shape = {.rows = range.rows,
                             .tokens = tokens,
                             .gated = gated,
                             .aligned = format.columns % 4 == 0,
                             .texels = fits_texels(context, m, weights),
                             .half = products_in_half(context, format),
                             .group16 = format.four_bit() && format.group == kHalfUnit};
  const std::string what = std::string(encoding_name(format.encoding)) + " " +
                           std::to_string(range.rows) + " x " + std::to_string(format.columns);
  if (context.forced != nullptr) require_valid(context, {kernel, shape, what});
  const KernelConfig& config =
      context.forced != nullptr ? *context.forced : choose(context, {kernel, shape, what});
  const Window bias = vector_window(context, m.bias, range.first, range.rows);
  const Window up_bias = vector_window(context, m.up_bias, range.first, range.rows);
  const Window combine = window(context, m.combine, range.first, range.rows);
  const Window out = window(context, m.out, range.first, range.rows);

  Dispatch d;
  d.shader = kernel_name(kernel) + suffix(context, m, config);
  const int64_t unit_bytes = planes ? 4 : 16;
  d.specialization = {config.lanes * config.splits,
                      config.lanes,
                      config.rows,
                      config.tokens,
                      m.x.is_f16(),
                      m.out.is_f16(),
                      m.combine_mode,
                      presence(context, m.bias),
                      presence(context, m.up_bias),
                      static_cast<uint32_t>(m.activation),
                      format.columns % 32 == 0 ? 2u : (format.columns % 4 == 0 ? 1u : 0u),
                      broadcast_lanes(context.limits)};
  const bool codes = w8a8 && reads_codes(tokens, config);
  if (codes) d.specialization[4] = 2;  // X_KIND of shaders/common/w8a8.glsl
  const bool half = products_in_half(context, format);
  if (tokens == 1 || planes || half) d.specialization.push_back(config.splits);
  if (planes || half) d.specialization.push_back(static_cast<uint32_t>(format.width));
  if (half) d.specialization.push_back(pairs_halves(context.limits) ? 1 : 0);
  d.operands = {step_record(), codes ? m.made : m.x.operand, weights.codes,
                bias.operand,  combine.operand,               out.operand};
  WeightRange up;
  if (gated) {
    up = weight_range(context, m.up, range);
    d.operands.push_back(up.codes);
    d.operands.push_back(up_bias.operand);
  }
  if (codes4 || w8a8) d.operands.push_back(weights.pairs);
  if ((codes4 || w8a8) && gated) d.operands.push_back(up.pairs);
  if (reads_sums(format, tokens)) d.operands.push_back(m.made);
  if (planes) {
    d.operands.insert(d.operands.end(), weights.planes.begin(), weights.planes.end());
    d.operands.resize(static_cast<size_t>(6 + kMostWidth - 1), unused());
    d.operands.push_back(weights.pairs);
  }
  if (config.texels) {
    d.operands[1].texel_words = d.operands[2].texel_words = 4;
    if (gated) d.operands[6].texel_words = 4;
    for (size_t i = gated ? 8 : 6; codes4 && i < d.operands.size(); ++i) {
      d.operands[i].texel_words = 1;
    }
  }
  d.push_constants = {u32(format.columns),
                      u32(range.rows),
                      u32(static_cast<int64_t>(format.code_row_bytes()) / unit_bytes),
                      codes4 ? u32(format.groups()) : 0,
                      codes4 ? u32(std::max<int64_t>(1, format.group / 32)) : 0,
                      u32(tokens),
                      in_body(context, m.op) ? 1u : 0u,
                      u32(m.out.width),
                      out.base,
                      bias.base,
                      up_bias.base,
                      weights.pairs_base,
                      planes ? weights.planes_base : up.pairs_base,
                      combine.base};
  if (w8a8) {
    const float act_scale = weight(context, m.matrix).act_scale;
    d.push_constants[3] = float_bits(1.0f / act_scale);
    d.push_constants[4] = float_bits(act_scale);
  }
  d.groups = {groups_for(range.rows, int64_t{config.lanes} * config.rows),
              groups_for(tokens, config.tokens), 1};
  d.op = m.op;
  d.label = label;
  d.config = config.str();
  d.flops = 2 * static_cast<uint64_t>(tokens) * static_cast<uint64_t>(range.rows) *
            static_cast<uint64_t>(format.columns) * (gated ? 2 : 1);
  return finish(context, std::move(d));
}

// The codes of all activation rows, for every range and both matrices of a gate.
Dispatch plan_quantise(const KernelContext& context, const Matmul& m, const std::string& label) {
  const Weight& matrix = weight(context, m.matrix);
  const KernelConfig& config = choose_config(Kernel::map, context.limits, {});
  const auto words = static_cast<int64_t>(matrix.format.code_row_bytes() / 4);
  Dispatch d;
  d.shader = "quantise_w8a8";
  d.specialization = {config.lanes, m.x.is_f16()};
  d.operands = {step_record(), m.x.operand, m.made};
  d.operands.back().access = Access::write;
  d.push_constants = {u32(m.x.width), u32(words), u32(m.x.rows), in_body(context, m.op) ? 1u : 0u,
                      float_bits(1.0f / matrix.act_scale)};
  d.groups = {groups_for(words, config.lanes), u32(m.x.rows), 1};
  d.op = m.op;
  d.label = label + " codes";
  d.config = config.str();
  d.flops = static_cast<uint64_t>(m.x.rows * m.x.width);
  return finish(context, std::move(d));
}

// The sums of the groups of all activation rows, likewise. Its additions count as the kernel's products.
Dispatch plan_group_sums(const KernelContext& context, const Matmul& m, const std::string& label) {
  const WeightFormat& format = weight(context, m.matrix).format;
  const KernelConfig& config = choose_config(Kernel::map, context.limits, {});
  Dispatch d;
  d.shader = "group_sums";
  d.specialization = {config.lanes, m.x.is_f16(), format.columns % 4 == 0 ? 1u : 0u,
                      products_in_half(context, format) ? 1u : 0u, u32(format.group)};
  d.operands = {step_record(), m.x.operand, m.made};
  d.operands.back().access = Access::write;
  d.push_constants = {u32(m.x.width), u32(format.groups()), u32(m.x.rows),
                      in_body(context, m.op) ? 1u : 0u};
  d.groups = {groups_for(m.x.rows * format.groups(), config.lanes), 1, 1};
  d.op = m.op;
  d.label = label + " sums";
  d.config = config.str();
  return finish(context, std::move(d));
}

// What is made of x, behind `first_byte` of the scratch.
Operand made_operand(const KernelContext& context, const Matmul& m, uint64_t first_byte) {
  const WeightFormat& format = weight(context, m.matrix).format;
  Operand made;
  made.kind = Operand::Kind::scratch;
  made.offset = checked_round_up(first_byte, uint64_t{context.limits.offset_alignment});
  if (format.encoding == Encoding::w8a8) {
    made.bytes = static_cast<uint64_t>(m.x.rows) * format.code_row_bytes();
  } else if (reads_sums(format, m.x.rows)) {
    // Rows of a group are padded for vector loads, and the last tile of rows may reach behind them.
    const int64_t rows = checked_round_up(m.x.rows, int64_t{4}, "the sums of a chunk");
    made.bytes = static_cast<uint64_t>(4 * (rows * format.groups() + kMostTileTokens));
  }
  return made;
}

// `made`: what is made of x lies in scratch already, from another matrix.
std::vector<Dispatch> plan_ranges(const KernelContext& context, const Matmul& m,
                                  const std::string& label, bool made = false) {
  std::vector<WeightId> ids = {m.matrix};
  if (m.up != kNone) ids.push_back(m.up);
  std::vector<Dispatch> dispatches;
  for (const RowRange& range : row_ranges(context, ids)) {
    dispatches.push_back(plan_range(context, m, range, label));
  }
  if (made) return dispatches;
  const WeightFormat& format = weight(context, m.matrix).format;
  const auto reads = [](const Dispatch& d) { return d.operands[1].kind == Operand::Kind::scratch; };
  if (format.encoding == Encoding::w8a8 &&
      std::any_of(dispatches.begin(), dispatches.end(), reads)) {
    dispatches.insert(dispatches.begin(), plan_quantise(context, m, label));
  }
  if (reads_sums(format, m.x.rows)) {
    dispatches.insert(dispatches.begin(), plan_group_sums(context, m, label));
  }
  return dispatches;
}

const Operator& op_at(const KernelContext& context, int32_t op) {
  return context.manifest->program.operators.at(static_cast<size_t>(op));
}

template <typename Ids>
int32_t at_or_none(const Ids& ids, size_t i) {
  return i < ids.size() ? ids[i] : kNone;
}

}  // namespace

std::vector<Dispatch> plan_linear(const KernelContext& context, int32_t op) {
  const Operator& o = op_at(context, op);
  Matmul m;
  m.op = op;
  m.x = view(context, o.inputs.at(0), Access::read);
  m.out = unchecked_view(context, o.outputs.at(0), Access::write);
  m.combine = unchecked_view(context, at_or_none(o.inputs, 1), Access::read);
  m.combine_mode = presence(m.combine);
  m.matrix = o.weights.at(0);
  m.bias = at_or_none(o.weights, 1);
  m.activation = o.attributes.activation;
  m.made = made_operand(context, m, 0);
  return plan_ranges(context, m, o.name);
}

std::vector<Dispatch> plan_gated_linear(const KernelContext& context, int32_t op) {
  const Operator& o = op_at(context, op);
  Matmul m;
  m.op = op;
  m.x = view(context, o.inputs.at(0), Access::read);
  m.out = unchecked_view(context, o.outputs.at(0), Access::write);
  m.matrix = o.weights.at(0);
  m.up = o.weights.at(1);
  m.bias = at_or_none(o.weights, 2);
  m.up_bias = at_or_none(o.weights, 3);
  m.activation = o.attributes.activation;
  const WeightFormat& gate = weight(context, m.matrix).format;
  const WeightFormat& up = weight(context, m.up).format;
  // Of one dispatch for both.
  const uint32_t bindings =
      (gate.pair_bytes() != 0 ? 10u : 8u) + (reads_sums(gate, m.x.rows) ? 1u : 0u);
  m.made = made_operand(context, m, 0);
  if (gate.encoding == up.encoding && gate.group == up.group && gate.group != kHalfUnit &&
      gate.encoding != Encoding::any && context.limits.max_storage_buffers >= bindings &&
      !gates_apart(context.limits, gate.four_bit())) {
    return plan_ranges(context, m, o.name);
  }
  // Two encodings, planes, groups of 16, or too few bindings or registers for both: the gate goes
  // through scratch.
  View gate_out;
  gate_out.operand.kind = Operand::Kind::scratch;
  gate_out.operand.bytes = static_cast<uint64_t>(4 * m.out.rows * m.out.width);
  gate_out.operand.access = Access::write;
  gate_out.rows = m.out.rows;
  gate_out.width = m.out.width;
  Matmul first = m;
  first.out = gate_out;
  first.up = first.up_bias = kNone;
  first.made = made_operand(context, first, gate_out.operand.bytes);
  Matmul second = m;
  second.matrix = m.up;
  second.bias = m.up_bias;
  second.up = second.up_bias = kNone;
  second.activation = Activation::none;
  second.combine = gate_out;
  second.combine.operand.access = Access::read;
  second.combine_mode = 3;
  second.made = made_operand(context, second, gate_out.operand.bytes);
  std::vector<Dispatch> dispatches = plan_ranges(context, first, o.name + " gate");
  const std::string& front = dispatches.front().shader;
  const bool made = (front == "quantise_w8a8" && up.encoding == gate.encoding) ||
                    (front == "group_sums" && up.group == gate.group);
  for (Dispatch& d : plan_ranges(context, second, o.name + " up", made)) {
    dispatches.push_back(std::move(d));
  }
  return dispatches;
}

}  // namespace pocket::planning
