#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "runtime/base/checked.h"
#include "runtime/program/generic_check.h"
#include "runtime/program/lifetimes.h"
#include "runtime/program/operator_check.h"
#include "runtime/program/program.h"

namespace pocket {
namespace {

constexpr int64_t kMaxExtent = std::numeric_limits<int32_t>::max();
constexpr size_t kMaxRank = 6;
// Evaluating a plan compares every two activations: at this many it still takes seconds only.
constexpr size_t kMaxTensors = 65536;
const char* const kSymbols[] = {"tokens", "past", "rows", "context"};

[[noreturn]] void fail(const std::string& where, const std::string& what) {
  throw Error(ExitCode::bad_input,
              where + " " + what + ": the program is inconsistent, convert the model again.");
}

void check_symbols(const Program& program) {
  for (const auto& [name, range] : program.symbols) {
    if (std::find(std::begin(kSymbols), std::end(kSymbols), name) == std::end(kSymbols)) {
      fail("Symbol '" + name + "'", "is none of tokens, past, rows, context");
    }
    if (range.min < 0 || range.max < range.min || range.max > kMaxExtent) {
      fail("Symbol '" + name + "'",
           "has the range " + std::to_string(range.min) + ".." + std::to_string(range.max));
    }
  }
  if (program.vocab < 1 || program.vocab > kMaxExtent) {
    fail("The vocabulary", "has " + std::to_string(program.vocab) + " entries");
  }
  if (program.max_context < 1 || program.max_context > kMaxExtent || program.default_context < 1 ||
      program.default_context > program.max_context || program.default_chunk < 1 ||
      program.default_chunk > program.max_context) {
    fail("The context of " + std::to_string(program.max_context),
         "does not hold the default of " + std::to_string(program.default_context) +
             " or the chunk of " + std::to_string(program.default_chunk));
  }
}

// A polynomial that grows with every symbol, so that its value for the largest symbols, for which
// memory is planned, is the largest.
bool is_growing(const Expr& extent, const Ranges& symbols) {
  for (const Expr::Term& term : extent.terms()) {
    if (term.factors.empty()) continue;
    if (term.coefficient < 0) return false;
    for (const Expr::Atom& atom : term.factors) {
      if (atom.kind != Expr::Atom::Kind::symbol || !symbols.contains(atom.name)) return false;
    }
  }
  return true;
}

void check_tensors(const Program& program) {
  if (program.tensors.size() > kMaxTensors) {
    fail("The program", "has " + std::to_string(program.tensors.size()) + " tensors, more than " +
                            std::to_string(kMaxTensors));
  }
  Bindings largest;
  for (const auto& [name, range] : program.symbols) largest[name] = range.max;
  for (const Tensor& tensor : program.tensors) {
    const std::string where = "Tensor '" + tensor.name + "'";
    if (tensor.shape.empty() || tensor.shape.size() > kMaxRank)
      fail(where, "has no or too many dimensions");
    for (const Expr& extent : tensor.shape) {
      if (!is_growing(extent, program.symbols) || extent.evaluate(largest) < 1 ||
          extent.evaluate(largest) > kMaxExtent) {
        fail(where, "has the extent " + extent.str());
      }
    }
    if (tensor.role == TensorRole::state && !(tensor.shape[0] == Expr::symbol("context"))) {
      fail(where, "is a state that does not begin with the context");
    }
    const Expr& last = tensor.shape.back();
    if (tensor.dtype == DType::f16 && (!last.is_constant() || last.constant() % 2 != 0)) {
      fail(where, "is f16 with an odd last dimension");
    }
    tensor.bytes().evaluate(largest);  // refuses sizes beyond 64 bits
  }
}

void check_rope_table(const Program& program, const RopeTable& table,
                      const std::vector<std::vector<int64_t>>& weight_shapes) {
  const auto finite = [](const std::vector<double>& list) {
    return std::all_of(list.begin(), list.end(), [](double value) { return std::isfinite(value); });
  };
  if (!finite(table.inv_freq) || !finite(table.long_inv_freq) || !std::isfinite(table.scale) ||
      !std::isfinite(table.long_scale)) {
    fail("A rope table", "holds no finite numbers");
  }
  if (!table.long_inv_freq.empty() &&
      (table.long_inv_freq.size() != table.inv_freq.size() || table.long_from < 0)) {
    fail("A rope table", "has a second list of another length");
  }
  if (table.values == kNone) return;
  const auto id = static_cast<size_t>(table.values);
  if (table.values < 0 || id >= weight_shapes.size() || !table.inv_freq.empty() ||
      !table.long_inv_freq.empty() || table.values_half < 1 || weight_shapes[id].size() != 2 ||
      weight_shapes[id][0] < program.max_context || weight_shapes[id][1] != 2 * table.values_half) {
    fail("A rope table", "names no weight [positions, 2 * half] for every position");
  }
}

void check_indices(const Program& program, const std::vector<std::vector<int64_t>>& weight_shapes) {
  if (weight_shapes.size() != program.weights.size()) {
    fail("The weight list", "has another length than the shapes");
  }
  for (size_t i = 0; i < weight_shapes.size(); ++i) {
    for (const int64_t extent : weight_shapes[i]) {
      if (extent < 1 || extent > kMaxExtent) {
        fail("Weight '" + program.weights[i] + "'", "has the extent " + std::to_string(extent));
      }
    }
  }
  std::set<std::string> names;
  auto in_range = [](const std::vector<int32_t>& list, size_t count) {
    return std::all_of(list.begin(), list.end(), [&](int32_t id) {
      return id == kNone || (id >= 0 && static_cast<size_t>(id) < count);
    });
  };
  for (const Operator& op : program.operators) {
    const std::string where = "Operator '" + op.name + "'";
    if (!names.insert(op.name).second) fail(where, "appears twice");
    if (!in_range(op.inputs, program.tensors.size()) ||
        !in_range(op.outputs, program.tensors.size()) ||
        !in_range(op.weights, program.weights.size())) {
      fail(where, "refers to a tensor or weight that does not exist");
    }
  }
  for (const RopeTable& table : program.rope_tables) {
    check_rope_table(program, table, weight_shapes);
  }
  for (const TensorId id : {program.hidden, program.logits}) {
    if (id < 0 || static_cast<size_t>(id) >= program.tensors.size()) {
      fail("The program", "names no hidden or logits tensor");
    }
  }
}

// Segments cover all operators in order, body before head. Returns the part of every operator.
std::vector<Part> check_segments(const Program& program) {
  std::vector<Part> parts;
  for (const Segment& segment : program.segments) {
    const std::string where = "Segment '" + segment.name + "'";
    if (segment.op_count < 1 || static_cast<size_t>(segment.first_op) != parts.size() ||
        static_cast<size_t>(segment.op_count) > program.operators.size() - parts.size()) {
      fail(where, "does not continue the list of operators");
    }
    if (segment.part == Part::body && !parts.empty() && parts.back() == Part::head) {
      fail(where, "puts the body after the head");
    }
    parts.insert(parts.end(), static_cast<size_t>(segment.op_count), segment.part);
  }
  if (parts.size() != program.operators.size() || parts.empty() || parts.front() != Part::body ||
      parts.back() != Part::head) {
    fail("The list of segments", "does not cover the operators with a body and a head");
  }
  return parts;
}

void check_results(const Program& program, const std::vector<Part>& parts, const Lifetimes& lives) {
  const auto hidden = static_cast<size_t>(program.hidden),
             logits = static_cast<size_t>(program.logits);
  const Tensor& result = program.tensors[logits];
  if (lives.first_use[hidden] == kNone || lives.first_use[logits] == kNone ||
      parts[static_cast<size_t>(lives.first_use[hidden])] != Part::body ||
      parts[static_cast<size_t>(lives.first_use[logits])] != Part::head ||
      result.dtype != DType::f32 || result.shape.size() != 2 ||
      result.shape[0] != Expr::symbol("rows") || result.shape[1] != Expr(program.vocab)) {
    fail("The program", "has no f32 logits [rows, vocab] from its head");
  }
  // A state is filled by one operator before attention reads it.
  std::set<TensorId> filled;
  for (const Operator& op : program.operators) {
    if (op.kind == OpKind::rotary_kv) {
      if (!filled.insert(op.inputs[3]).second || !filled.insert(op.inputs[4]).second) {
        fail("Operator '" + op.name + "'", "writes a state that another operator writes");
      }
    } else if (op.kind == OpKind::attention) {
      if (!filled.contains(op.inputs[1]) || !filled.contains(op.inputs[2])) {
        fail("Operator '" + op.name + "'", "reads a state that nothing has written");
      }
    }
    std::set<TensorId> appended;
    for (const GenericStep& step : op.steps) {
      if (step.out.source != GenericSource::input) continue;
      appended.insert(op.inputs[static_cast<size_t>(step.out.index)]);
    }
    for (const TensorId id : appended) {
      if (!filled.insert(id).second) {
        fail("Operator '" + op.name + "'", "writes a state that another operator writes");
      }
    }
  }
  for (size_t i = 0; i < program.tensors.size(); ++i) {
    if (program.tensors[i].role == TensorRole::state &&
        !filled.contains(static_cast<TensorId>(i))) {
      fail("Tensor '" + program.tensors[i].name + "'", "is a state that nothing writes");
    }
  }
}

// Stacking keeps tensors apart by construction: what remains is that the order names every
// activation once and that the lifetimes are those of the operators.
void check_plan(const Program& program, const Lifetimes& lives) {
  const MemoryPlan& plan = program.plan;
  if (plan.first_use != lives.first_use || plan.last_use != lives.last_use) {
    fail("The memory plan", "has other lifetimes than the operators");
  }
  std::vector<bool> seen(program.tensors.size(), false);
  size_t activations = 0;
  for (const Tensor& tensor : program.tensors) activations += tensor.role == TensorRole::activation;
  for (const TensorId id : plan.order) {
    if (id < 0 || static_cast<size_t>(id) >= seen.size() || seen[static_cast<size_t>(id)] ||
        program.tensors[static_cast<size_t>(id)].role == TensorRole::state) {
      fail("The memory plan",
           "stacks tensor " + std::to_string(id) + ", which is a state, unknown or there already");
    }
    seen[static_cast<size_t>(id)] = true;
  }
  if (plan.order.size() != activations) {
    fail("The memory plan", "stacks " + std::to_string(plan.order.size()) + " of " +
                                std::to_string(activations) + " activations");
  }
}

}  // namespace

void verify(const Program& program, const std::vector<std::vector<int64_t>>& weight_shapes) {
  check_symbols(program);
  check_tensors(program);
  check_indices(program, weight_shapes);
  const std::vector<Part> parts = check_segments(program);
  for (size_t i = 0; i < program.operators.size(); ++i) {
    check_operator(program, weight_shapes, program.operators[i], parts[i]);
    check_generic(program, weight_shapes, program.operators[i], parts[i]);
  }
  const Lifetimes lives = compute_lifetimes(program);
  check_results(program, parts, lives);
  check_plan(program, lives);
}

}  // namespace pocket
