#include <algorithm>
#include <atomic>

#include "runtime/base/checked.h"
#include "runtime/program/program.h"

namespace pocket {
namespace {

constexpr auto kAlignment = static_cast<uint64_t>(MemoryPlan::kAlignment);

std::vector<uint64_t> tensor_bytes(const Program& program, const Bindings& bindings) {
  std::vector<uint64_t> list;
  for (const Tensor& tensor : program.tensors) {
    const int64_t bytes = tensor.bytes().evaluate(bindings);
    if (bytes < 0) {
      throw Error(ExitCode::bad_input, "Tensor '" + tensor.name + "' has " + std::to_string(bytes) +
                                           " bytes: convert the model again.");
    }
    list.push_back(static_cast<uint64_t>(bytes));
  }
  return list;
}

std::atomic<uint64_t> evaluations{0};

}  // namespace

uint64_t plan_evaluations() { return evaluations.load(std::memory_order_relaxed); }

EvaluatedPlan evaluate_plan(const Program& program, const Bindings& bindings) {
  evaluations.fetch_add(1, std::memory_order_relaxed);
  const MemoryPlan& plan = program.plan;
  EvaluatedPlan result;
  result.bytes = tensor_bytes(program, bindings);
  result.offset.assign(program.tensors.size(), 0);
  struct Placed {
    int32_t first_use, last_use;
    uint64_t end;
  };
  std::vector<Placed> placed;
  placed.reserve(plan.order.size());
  for (const TensorId id : plan.order) {
    const auto tensor = static_cast<size_t>(id);
    const int32_t first_use = plan.first_use[tensor], last_use = plan.last_use[tensor];
    uint64_t offset = 0;
    for (const Placed& other : placed) {
      if (other.first_use <= last_use && first_use <= other.last_use) {
        offset = std::max(offset, other.end);
      }
    }
    const uint64_t end = checked_round_up(
        checked_add(offset, result.bytes[tensor], "the activation arena"), kAlignment);
    result.offset[tensor] = offset;
    result.arena_bytes = std::max(result.arena_bytes, end);
    placed.push_back({first_use, last_use, end});
  }
  return result;
}

uint64_t largest_live_set(const Program& program, const Bindings& bindings) {
  const std::vector<uint64_t> bytes = tensor_bytes(program, bindings);
  // Bytes that begin to live at an operator, and those that end behind it.
  std::vector<uint64_t> begins(program.operators.size(), 0), ends(program.operators.size(), 0);
  for (const TensorId id : program.plan.order) {
    const auto tensor = static_cast<size_t>(id);
    const uint64_t rounded = checked_round_up(bytes[tensor], kAlignment);
    begins[static_cast<size_t>(program.plan.first_use[tensor])] += rounded;
    ends[static_cast<size_t>(program.plan.last_use[tensor])] += rounded;
  }
  uint64_t live = 0, most = 0;
  for (size_t op = 0; op < begins.size(); ++op) {
    live += begins[op];
    most = std::max(most, live);
    live -= ends[op];
  }
  return most;
}

}  // namespace pocket
