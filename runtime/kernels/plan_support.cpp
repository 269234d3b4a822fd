#include "runtime/kernels/plan_support.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "runtime/base/error.h"

namespace pocket::planning {
namespace {

[[noreturn]] void too_large(const std::string& what, uint64_t bytes, uint64_t limit,
                            const std::string& advice) {
  throw Error(ExitCode::device, what + " needs " + std::to_string(bytes) +
                                    " bytes in one binding and the device allows " +
                                    std::to_string(limit) + "; " + advice);
}

const Section* find_section(const Weight& weight, SectionKind kind, int64_t row) {
  for (const Section& s : weight.sections) {
    if (s.kind() == kind && row >= s.first_row && row < s.first_row + s.rows) return &s;
  }
  return nullptr;
}

const Section& section_of(const Weight& weight, SectionKind kind, int64_t row) {
  const Section* section = find_section(weight, kind, row);
  if (section == nullptr) {
    throw Error(ExitCode::bad_input, "weight '" + weight.name + "' has no section for row " +
                                         std::to_string(row) + "; convert the model again");
  }
  return *section;
}

Operand section_range(const KernelContext& context, WeightId id, const Section& section,
                      uint64_t first_byte, uint64_t bytes, uint64_t* slack) {
  const Weight& w = weight(context, id);
  const uint64_t start =
      first_byte / context.limits.offset_alignment * context.limits.offset_alignment;
  *slack = first_byte - start;
  Operand operand;
  operand.kind = Operand::Kind::weight;
  operand.id = id;
  operand.section = static_cast<int32_t>(&section - w.sections.data());
  operand.offset = start;
  operand.bytes = bytes + *slack;
  return operand;
}

int64_t element_bytes(DType dtype) { return dtype == DType::f16 ? 2 : 4; }

}  // namespace

uint32_t u32(int64_t value) {
  if (value < 0 || value > std::numeric_limits<uint32_t>::max()) {
    throw Error(ExitCode::device, "a size of " + std::to_string(value) +
                                      " does not fit a kernel's 32 bits; use a smaller model");
  }
  return static_cast<uint32_t>(value);
}

const KernelConfig& choose(const KernelContext& context, const ConfigRequest& request) {
  if (context.requests != nullptr) context.requests->push_back(request);
  const KernelConfig* tuned =
      context.tuned == nullptr ? nullptr : context.tuned->find(request.key());
  if (tuned != nullptr && valid(*tuned, context.limits, request.shape)) return *tuned;
  return choose_config(request.kernel, context.limits, request.shape);
}

uint32_t float_bits(float value) { return std::bit_cast<uint32_t>(value); }

uint32_t groups_for(int64_t items, int64_t per_group) {
  return u32((items + per_group - 1) / per_group);
}

View unchecked_view(const KernelContext& context, TensorId id, Access access) {
  if (id == kNone) return {};
  const Tensor& tensor = context.manifest->program.tensors.at(static_cast<size_t>(id));
  View result;
  result.dtype = tensor.dtype;
  int64_t elements = 1;
  for (const Expr& dimension : tensor.shape) elements *= dimension.evaluate(context.bindings);
  result.width = tensor.shape.empty() ? 1 : tensor.shape.back().evaluate(context.bindings);
  result.rows = result.width == 0 ? 0 : elements / result.width;
  result.operand.kind = Operand::Kind::tensor;
  result.operand.id = id;
  result.operand.bytes = static_cast<uint64_t>(elements * element_bytes(tensor.dtype));
  result.operand.access = access;
  return result;
}

View view(const KernelContext& context, TensorId id, Access access) {
  View result = unchecked_view(context, id, access);
  if (id != kNone && result.operand.bytes > context.limits.max_binding) {
    const Tensor& tensor = context.manifest->program.tensors.at(static_cast<size_t>(id));
    too_large(
        "tensor '" + tensor.name + "'", result.operand.bytes, context.limits.max_binding,
        tensor.role == TensorRole::state ? "use a smaller --context" : "use a smaller --chunk");
  }
  return result;
}

Operand unused() { return step_record(); }

Operand step_record(Access access) {
  Operand operand;
  operand.kind = Operand::Kind::step_record;
  operand.bytes = sizeof(StepRecord);
  operand.access = access;
  return operand;
}

Operand token_ids(const KernelContext& context, Access access) {
  Operand operand;
  operand.kind = Operand::Kind::token_ids;
  operand.bytes = static_cast<uint64_t>(4 * (context.bindings.at("context") + 1));
  operand.access = access;
  if (operand.bytes > context.limits.max_binding) {
    too_large("the token sequence", operand.bytes, context.limits.max_binding,
              "use a smaller --context");
  }
  return operand;
}

uint32_t presence(const View& v) {
  if (v.operand.bytes == 0) return 0;
  return v.dtype == DType::f16 ? 2 : 1;
}

uint32_t presence(const KernelContext& context, WeightId id) {
  if (id == kNone) return 0;
  const Encoding encoding = weight(context, id).format.encoding;
  if (encoding == Encoding::f32) return 1;
  if (encoding == Encoding::f16) return 2;
  throw Error(ExitCode::bad_input, "vector '" + weight(context, id).name + "' is packed as " +
                                       encoding_name(encoding) +
                                       ", but vectors must be f32 or f16; convert the model again");
}

const Weight& weight(const KernelContext& context, WeightId id) {
  return context.manifest->weights.at(static_cast<size_t>(id));
}

Window window(const KernelContext& context, const View& v, int64_t first, int64_t count) {
  Window result{v.operand, u32(first)};
  if (v.operand.bytes == 0) return {unused(), 0};
  if (v.operand.bytes <= context.limits.max_binding) return result;
  if (v.rows != 1) {
    too_large("tensor '" +
                  context.manifest->program.tensors.at(static_cast<size_t>(v.operand.id)).name +
                  "'",
              v.operand.bytes, context.limits.max_binding, "use a smaller --chunk");
  }
  const auto element = static_cast<uint64_t>(element_bytes(v.dtype));
  const uint64_t start = static_cast<uint64_t>(first) * element / context.limits.offset_alignment *
                         context.limits.offset_alignment;
  const uint64_t end = std::min(static_cast<uint64_t>(first + count) * element, v.operand.bytes);
  result.operand.offset = start;
  result.operand.bytes = end - start;
  result.base = u32(first - static_cast<int64_t>(start / element));
  if (result.operand.bytes > context.limits.max_binding) {
    too_large("a row of logits", result.operand.bytes, context.limits.max_binding,
              "use a device with larger bindings");
  }
  return result;
}

Window vector_window(const KernelContext& context, WeightId id, int64_t first, int64_t count) {
  if (id == kNone) return {unused(), 0};
  const Weight& w = weight(context, id);
  const Section& section = section_of(w, {SectionRole::codes}, 0);
  Operand whole;
  whole.kind = Operand::Kind::weight;
  whole.id = id;
  whole.section = static_cast<int32_t>(&section - w.sections.data());
  whole.bytes = w.format.code_bytes();
  if (whole.bytes <= context.limits.max_binding) return {whole, u32(first)};
  const uint64_t element = presence(context, id) == 2 ? 2 : 4;
  uint64_t slack = 0;
  const Operand part = section_range(context, id, section, static_cast<uint64_t>(first) * element,
                                     static_cast<uint64_t>(count) * element, &slack);
  if (part.bytes > context.limits.max_binding) {
    too_large("vector '" + w.name + "'", part.bytes, context.limits.max_binding,
              "use a device with larger bindings");
  }
  return {part, u32(static_cast<int64_t>(slack / element))};
}

std::vector<RowRange> row_ranges(const KernelContext& context, const std::vector<WeightId>& ids) {
  const uint64_t limit = context.limits.max_binding;
  std::vector<int64_t> cuts;
  int64_t total = 0;
  for (const WeightId id : ids) {
    const Weight& w = weight(context, id);
    total = w.format.rows;
    cuts.push_back(total);
    const uint64_t pair_row = w.format.pair_row_bytes();
    const bool has_pairs = w.format.pair_bytes() != 0;
    const bool planes = w.format.encoding == Encoding::any;
    const uint64_t slack = context.limits.offset_alignment;
    uint64_t most = limit / w.format.code_row_bytes();
    if (planes) most = limit > slack ? (limit - slack) / w.format.code_row_bytes() : 0;
    if (has_pairs) {
      most = std::min(most, limit > slack ? (limit - slack) / pair_row : 0);
    }
    const auto block = static_cast<uint64_t>(std::min(kBlockRows, total));
    if (most < block) {
      too_large(std::to_string(block) + " rows of weight '" + w.name + "'",
                block * std::max(w.format.code_row_bytes(), has_pairs ? pair_row : 0), limit,
                "use a device with larger bindings or a narrower encoding");
    }
    // A whole weight that fits is one range; otherwise ranges end at blocks.
    const int64_t step = most >= static_cast<uint64_t>(total)
                             ? total
                             : static_cast<int64_t>(most) / kBlockRows * kBlockRows;
    for (const Section& s : w.sections) {
      if (!w.format.uses(s.kind())) continue;
      cuts.push_back(s.first_row);
      if (s.role == SectionRole::scale || s.role == SectionRole::lut) continue;
      for (int64_t row = s.first_row; row < s.first_row + s.rows; row += step) cuts.push_back(row);
    }
  }
  std::sort(cuts.begin(), cuts.end());
  cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
  std::vector<RowRange> ranges;
  for (size_t i = 0; i + 1 < cuts.size(); ++i) {
    ranges.push_back({cuts[i], cuts[i + 1] - cuts[i]});
  }
  return ranges;
}

WeightRange weight_range(const KernelContext& context, WeightId id, const RowRange& range) {
  const Weight& w = weight(context, id);
  const auto at = [&](const Section& s) {
    return static_cast<uint64_t>(range.first - s.first_row);
  };
  const auto rows = static_cast<uint64_t>(range.rows);
  WeightRange result;
  uint64_t slack = 0;
  const uint64_t row_bytes = w.format.code_row_bytes();
  const uint64_t pair_row = w.format.pair_row_bytes();
  if (w.format.encoding == Encoding::any) {
    for (int32_t plane = 1; plane <= w.format.width; ++plane) {
      const Section& bits = section_of(w, {SectionRole::plane, plane}, range.first);
      const Operand operand =
          section_range(context, id, bits, at(bits) * row_bytes, rows * row_bytes, &slack);
      const uint32_t base = u32(static_cast<int64_t>(slack / 4));
      // Kinds may be cut at other rows in a file that another program wrote.
      if (plane > 1 && base != result.planes_base) {
        throw Error(ExitCode::bad_input, "the planes of weight '" + w.name +
                                             "' are cut at different rows; convert the model again");
      }
      result.planes_base = base;
      (plane == 1 ? result.codes : result.planes.emplace_back()) = operand;
    }
    const Section& table = section_of(w, {SectionRole::lut, w.format.width}, range.first);
    result.pairs = section_range(context, id, table, at(table) * pair_row, rows * pair_row, &slack);
    result.pairs_base = u32(static_cast<int64_t>(slack / 4));
    return result;
  }
  const Section& codes = section_of(w, {SectionRole::codes}, range.first);
  result.codes = section_range(context, id, codes, at(codes) * row_bytes, rows * row_bytes, &slack);
  if (slack != 0) {
    throw Error(ExitCode::device, "rows of weight '" + w.name + "' do not start at the device's " +
                                      std::to_string(context.limits.offset_alignment) +
                                      "-byte offsets; use another device");
  }
  result.pairs = unused();
  if (w.format.pair_bytes() != 0) {
    const Section& pairs = section_of(w, {SectionRole::scale}, range.first);
    result.pairs = section_range(context, id, pairs, at(pairs) * pair_row, rows * pair_row, &slack);
    result.pairs_base = u32(static_cast<int64_t>(slack / 4));
  }
  return result;
}

bool in_body(const KernelContext& context, int32_t op) {
  for (const Segment& segment : context.manifest->program.segments) {
    if (op >= segment.first_op && op < segment.first_op + segment.op_count) {
      return segment.part == Part::body;
    }
  }
  return true;
}

Dispatch finish(const KernelContext& context, Dispatch dispatch) {
  const DeviceLimits& limits = context.limits;
  for (size_t i = 0; i < 3; ++i) {
    if (dispatch.groups[i] > limits.max_group_count[i]) {
      throw Error(ExitCode::device,
                  "kernel " + dispatch.shader + " of '" + dispatch.label + "' needs " +
                      std::to_string(dispatch.groups[i]) + " workgroups and the device allows " +
                      std::to_string(limits.max_group_count[i]) + "; use a smaller --chunk");
    }
  }
  if (dispatch.operands.size() > limits.max_storage_buffers) {
    throw Error(ExitCode::device,
                "kernel " + dispatch.shader + " binds " + std::to_string(dispatch.operands.size()) +
                    " buffers and the device allows " + std::to_string(limits.max_storage_buffers) +
                    "; use another device");
  }
  if (4 * dispatch.push_constants.size() > limits.max_push_constants) {
    throw Error(ExitCode::device, "kernel " + dispatch.shader + " takes " +
                                      std::to_string(4 * dispatch.push_constants.size()) +
                                      " bytes of push constants and the device allows " +
                                      std::to_string(limits.max_push_constants) +
                                      "; use another device");
  }
  for (const Operand& operand : dispatch.operands) {
    if (operand.bytes > limits.max_binding) {
      too_large("an operand of '" + dispatch.label + "'", operand.bytes, limits.max_binding,
                "use a smaller --chunk or --context");
    }
    const bool data = operand.kind != Operand::Kind::step_record;
    const auto access = static_cast<unsigned>(operand.access);
    if (data && (access & 1u) != 0) dispatch.bytes_read += operand.bytes;
    if (data && (access & 2u) != 0) dispatch.bytes_written += operand.bytes;
  }
  return dispatch;
}

}  // namespace pocket::planning
