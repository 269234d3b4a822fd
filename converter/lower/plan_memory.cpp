#include "converter/lower/plan_memory.h"

#include <algorithm>

#include "converter/lower/packing.h"
#include "runtime/base/checked.h"
#include "runtime/program/lifetimes.h"

namespace pocket {
namespace {

// Searches for each binding: few for the last per cent, many where the greedy orders and the first
// searches leave more than a tenth over the bound (small serial blocks, where sizes are alike).
constexpr uint64_t kSearches = 8;
constexpr uint64_t kMostSearches = 200;
constexpr double kNearBound = 1.1;

// Decode, a chunk of prefill with one row of logits and with all, the longest prompt in one piece.
std::vector<Bindings> usual_bindings(const Program& program) {
  std::vector<Bindings> list;
  const auto clamp = [&](const char* name, int64_t value) {
    const auto range = program.symbols.find(name);
    return range == program.symbols.end() ? value
                                          : std::clamp(value, range->second.min, range->second.max);
  };
  const int64_t context = clamp("context", std::max<int64_t>(1, program.default_context));
  const int64_t chunk = std::max<int64_t>(1, program.default_chunk);
  for (const auto& [tokens, rows] : std::initializer_list<std::pair<int64_t, int64_t>>{
           {1, 1}, {chunk, 1}, {chunk, chunk}, {context, 1}}) {
    list.push_back({{"tokens", clamp("tokens", tokens)},
                    {"rows", clamp("rows", rows)},
                    {"context", context},
                    {"past", clamp("past", context)}});
  }
  return list;
}

// The arena over the largest set of live tensors, in the worst of the bindings.
double excess(const Program& program, const std::vector<Bindings>& bindings) {
  double worst = 0;
  for (const Bindings& binding : bindings) {
    const auto bound =
        static_cast<double>(std::max<uint64_t>(1, largest_live_set(program, binding)));
    worst =
        std::max(worst, static_cast<double>(evaluate_plan(program, binding).arena_bytes) / bound);
  }
  return worst;
}

}  // namespace

void plan_memory(Program& program) {
  Lifetimes lives = compute_lifetimes(program);
  program.plan.first_use = std::move(lives.first_use);
  program.plan.last_use = std::move(lives.last_use);
  program.plan.order.clear();
  std::vector<PackingRequest> requests;
  for (const Operator& op : program.operators) {
    for (const TensorId id : op.outputs) {
      if (id == kNone) continue;
      const auto tensor = static_cast<size_t>(id);
      requests.push_back({id, program.plan.first_use[tensor], program.plan.last_use[tensor], 0});
      program.plan.order.push_back(id);
    }
  }
  const std::vector<Bindings> bindings = usual_bindings(program);
  std::vector<TensorId> best = program.plan.order;
  double least = excess(program, bindings);
  const auto consider = [&](std::vector<TensorId> order) {
    program.plan.order = std::move(order);
    const double found = excess(program, bindings);
    if (found >= least) return;
    least = found;
    best = program.plan.order;
  };
  for (const Bindings& binding : bindings) {
    for (PackingRequest& request : requests) {
      const int64_t bytes =
          program.tensors[static_cast<size_t>(request.id)].bytes().evaluate(binding);
      request.bytes = checked_round_up(bytes, MemoryPlan::kAlignment);
    }
    for (const PackingOrder order :
         {PackingOrder::execution, PackingOrder::largest_first, PackingOrder::longest_first}) {
      consider(pack_greedily(requests, order));
    }
    const auto wanted = [&](uint64_t seed) {
      return least > (seed < kSearches ? 1.0 : kNearBound);
    };
    for (uint64_t seed = 0; seed < kMostSearches && wanted(seed); ++seed) {
      consider(pack_by_search(requests, seed));
    }
  }
  program.plan.order = std::move(best);
}

}  // namespace pocket
