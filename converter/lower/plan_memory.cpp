#include "converter/lower/plan_memory.h"

#include <limits>
#include <optional>

#include "runtime/program/lifetimes.h"

namespace pocket {
namespace {

struct Block {
  Expr capacity;
  int64_t at_largest = 0;   // capacity when every symbol is at its maximum
  int32_t busy_until = -1;  // last operator that needs the present tenant
};

// Best fit among free blocks: the least waste, else the least growth, else a new block. A block
// grows only when its capacity is proven to be at most the tensor, so its old tenants still fit.
class Planner {
 public:
  explicit Planner(const Ranges& symbols) : symbols_(symbols) {
    for (const auto& [name, range] : symbols) largest_[name] = range.max;
  }

  int32_t place(const Expr& bytes, int32_t first_use, int32_t last_use) {
    const int64_t size = bytes.evaluate(largest_);
    std::optional<size_t> fitting, growing;
    for (size_t i = 0; i < blocks_.size(); ++i) {
      const Block& block = blocks_[i];
      if (block.busy_until >= first_use) continue;
      if (prove_le(bytes, block.capacity, symbols_) == Proof::yes) {
        if (!fitting || block.at_largest < blocks_[*fitting].at_largest) fitting = i;
      } else if (prove_le(block.capacity, bytes, symbols_) == Proof::yes) {
        if (!growing || block.at_largest > blocks_[*growing].at_largest) growing = i;
      }
    }
    if (!fitting && growing) {
      blocks_[*growing].capacity = bytes;
      blocks_[*growing].at_largest = size;
      fitting = growing;
    }
    if (!fitting) {
      fitting = blocks_.size();
      blocks_.push_back({bytes, size, -1});
    }
    blocks_[*fitting].busy_until = last_use;
    return static_cast<int32_t>(*fitting);
  }

  std::vector<Expr> capacities() const {
    std::vector<Expr> list;
    for (const Block& block : blocks_) list.push_back(block.capacity);
    return list;
  }

 private:
  const Ranges& symbols_;
  Bindings largest_;
  std::vector<Block> blocks_;
};

}  // namespace

void plan_memory(Program& program) {
  Lifetimes lives = compute_lifetimes(program);
  MemoryPlan plan;
  plan.block_of.assign(program.tensors.size(), kNone);
  Planner planner(program.symbols);
  for (const Operator& op : program.operators) {
    for (const TensorId id : op.outputs) {
      if (id == kNone) continue;
      const auto tensor = static_cast<size_t>(id);
      plan.block_of[tensor] = planner.place(program.tensors[tensor].bytes(),
                                            lives.first_use[tensor], lives.last_use[tensor]);
    }
  }
  plan.block_bytes = planner.capacities();
  plan.first_use = std::move(lives.first_use);
  plan.last_use = std::move(lives.last_use);
  program.plan = std::move(plan);
}

}  // namespace pocket
