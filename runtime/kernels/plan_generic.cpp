// Generic operators: a dispatch a step, sized for the largest domain; invocations and workgroups
// stride, and what lies beyond the step's own extents returns.
#include <algorithm>
#include <bit>

#include "runtime/base/error.h"
#include "runtime/kernels/generic_block.h"
#include "runtime/kernels/plan_support.h"
#include "runtime/kernels/planners.h"

namespace pocket {
namespace {

void append(std::vector<uint32_t>& block, const Expr& expr, const Bindings& known) {
  for (const int64_t coefficient : step_polynomial(expr, known).c) {
    block.push_back(static_cast<uint32_t>(static_cast<int32_t>(coefficient)));
  }
}

void append_list(std::vector<uint32_t>& block, const std::vector<Expr>& list, size_t count,
                 const Bindings& known) {
  for (size_t i = 0; i < count; ++i) append(block, i < list.size() ? list[i] : Expr(0), known);
}

}  // namespace

std::vector<uint32_t> generic_block(const GenericStep& step, const Bindings& known) {
  std::vector<uint32_t> block(8);
  block[0] = static_cast<uint32_t>(step.domain.size());
  block[1] = block[0] - static_cast<uint32_t>(step.inner);
  block[2] = static_cast<uint32_t>(step.scalars.size());
  for (size_t i = 0; i < step.operands.size(); ++i) {
    block[4 + i] = std::bit_cast<uint32_t>(static_cast<float>(step.operands[i].number));
  }
  append_list(block, step.domain, kGenericRank, known);
  const GenericOperand none;
  for (size_t i = 0; i <= kGenericOperands; ++i) {
    const GenericOperand& operand = i == 0                         ? step.out
                                    : i - 1 < step.operands.size() ? step.operands[i - 1]
                                                                   : none;
    append(block, operand.offset, known);
    append_list(block, operand.strides, kGenericRank, known);
  }
  append_list(block, step.scalars, kGenericScalars, known);
  return block;
}

namespace planning {
namespace {

// How the kernels name what an operand's elements are.
enum class ElementKind : uint32_t { f32, f16, i32, index, number };

struct Source {
  Operand operand = unused();
  ElementKind kind = ElementKind::number;
};

ElementKind element_kind(DType dtype) { return static_cast<ElementKind>(dtype); }

Source source_of(const KernelContext& context, const Operator& o, const GenericOperand& operand) {
  const auto index = static_cast<size_t>(operand.index);
  switch (operand.source) {
    case GenericSource::input: {
      const View v = view(context, o.inputs.at(index), Access::read);
      // A tensor without elements is bound to nothing; the domain that reads it is empty.
      if (v.operand.bytes == 0) return {};
      return {v.operand, element_kind(v.dtype)};
    }
    case GenericSource::weight: {
      const WeightId id = o.weights.at(index);
      const int64_t count = weight(context, id).format.columns;
      const ElementKind kind = presence(context, id) == 2 ? ElementKind::f16 : ElementKind::f32;
      return {vector_window(context, id, 0, count).operand, kind};
    }
    case GenericSource::token_ids:
      return {token_ids(context, Access::read), ElementKind::i32};
    case GenericSource::index:
      return {unused(), ElementKind::index};
    default:
      return {unused(), ElementKind::number};
  }
}

const char* shader_of(GenericFunction function) {
  using F = GenericFunction;
  if (function == F::softmax || function == F::log_softmax) return "generic_softmax";
  return function >= F::reduce_sum && function <= F::cumsum ? "generic_reduce" : "generic_map";
}

// Results (or lines) of the step for the largest sequence.
int64_t largest_results(const KernelContext& context, const GenericStep& step) {
  const int64_t capacity = context.bindings.at("context");
  const int64_t tokens = context.bindings.at("tokens");
  int64_t results = 1;
  for (size_t d = 0; d + static_cast<size_t>(step.inner) < step.domain.size(); ++d) {
    const int64_t extent =
        step_polynomial(step.domain[d], context.bindings).evaluate(capacity, tokens);
    results *= std::clamp<int64_t>(extent, 1, int64_t{1} << 31);
    results = std::min(results, int64_t{1} << 31);
  }
  return results;
}

Dispatch plan_step(const KernelContext& context, int32_t op, const Operator& o,
                   const GenericStep& step) {
  const KernelConfig& config = choose_config(Kernel::map, context.limits, {});
  Dispatch d;
  d.shader = shader_of(step.function);
  const bool writes_state = step.out.source == GenericSource::input;
  const auto out_index = static_cast<size_t>(step.out.index);
  const View out =
      view(context, writes_state ? o.inputs.at(out_index) : o.outputs.at(out_index), Access::write);
  d.specialization = {config.lanes, static_cast<uint32_t>(step.function),
                      step.compute == DType::i32 ? 1u : 0u,
                      static_cast<uint32_t>(element_kind(out.dtype))};
  d.parameters = generic_block(step, context.bindings);
  Operand block;
  block.kind = Operand::Kind::parameters;
  block.bytes = d.parameters.size() * 4;
  d.operands = {step_record(), block};
  for (size_t i = 0; i < kGenericOperands; ++i) {
    const Source source =
        i < step.operands.size() ? source_of(context, o, step.operands[i]) : Source{};
    d.specialization.push_back(static_cast<uint32_t>(source.kind));
    d.operands.push_back(source.operand);
  }
  d.operands.push_back(out.operand);
  const int64_t results = largest_results(context, step);
  const bool lines = d.shader == "generic_softmax";
  const int64_t groups = lines ? results : (results + config.lanes - 1) / config.lanes;
  d.groups = {u32(std::min<int64_t>(groups, context.limits.max_group_count[0])), 1, 1};
  d.op = op;
  d.label = o.name + " " + generic_function_name(step.function);
  d.config = config.str();
  d.flops = static_cast<uint64_t>(results);
  return finish(context, std::move(d));
}

}  // namespace

std::vector<Dispatch> plan_generic(const KernelContext& context, int32_t op) {
  const Operator& o = context.manifest->program.operators.at(static_cast<size_t>(op));
  std::vector<Dispatch> dispatches;
  for (const GenericStep& step : o.steps) {
    Dispatch dispatch = plan_step(context, op, o, step);
    if (dispatch.operands.back().bytes != 0) dispatches.push_back(std::move(dispatch));
  }
  return dispatches;
}

}  // namespace planning
}  // namespace pocket
