#include "runtime/kernels/plan.h"

#include <algorithm>

#include "runtime/base/error.h"
#include "runtime/kernels/plan_support.h"
#include "runtime/kernels/planners.h"

namespace pocket {

std::vector<Dispatch> plan_operator(const KernelContext& context, int32_t op) {
  const Program& program = context.manifest->program;
  switch (program.operators.at(static_cast<size_t>(op)).kind) {
    case OpKind::embed:
      return planning::plan_embed(context, op);
    case OpKind::norm:
      return planning::plan_norm(context, op);
    case OpKind::linear:
      return planning::plan_linear(context, op);
    case OpKind::gated_linear:
      return planning::plan_gated_linear(context, op);
    case OpKind::rotary_kv:
      return planning::plan_rotary_kv(context, op);
    case OpKind::attention:
      return planning::plan_attention(context, op);
    case OpKind::unary:
    case OpKind::binary:
    case OpKind::select_rows:
      return planning::plan_elementwise(context, op);
    case OpKind::generic:
      return planning::plan_generic(context, op);
  }
  throw Error(ExitCode::bad_input,
              "operator " + std::to_string(op) + " is of no known kind; convert the model again");
}

Dispatch plan_advance(const KernelContext& context) {
  Dispatch dispatch;
  dispatch.shader = "advance";
  dispatch.specialization = {1};
  dispatch.operands = {planning::step_record(Access::read_write)};
  dispatch.label = "advance";
  dispatch.config = "map 1";
  return planning::finish(context, std::move(dispatch));
}

int64_t largest_chunk(const KernelContext& context, int64_t wanted) {
  const auto fits = [&](int64_t chunk) {
    KernelContext trial = context;
    trial.bindings["tokens"] = chunk;
    const auto count = static_cast<int32_t>(context.manifest->program.operators.size());
    for (int32_t op = 0; op < count; ++op) plan_operator(trial, op);
  };
  if (wanted < 1)
    throw Error(ExitCode::usage, "a chunk must hold at least one token; raise --chunk");
  fits(1);  // throws the sentence that names what can never fit
  int64_t good = 1, bad = wanted + 1;
  while (bad - good > 1) {
    const int64_t middle = good == 1 && bad == wanted + 1 ? wanted : good + (bad - good) / 2;
    try {
      fits(middle);
      good = middle;
    } catch (const Error&) {
      bad = middle;
    }
  }
  return good;
}

}  // namespace pocket
