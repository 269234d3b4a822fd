#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "runtime/base/checked.h"
#include "runtime/program/lifetimes.h"
#include "runtime/program/operator_check.h"
#include "runtime/program/program.h"

namespace pocket {
namespace {

constexpr int64_t kMaxExtent = std::numeric_limits<int32_t>::max();
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

void check_tensors(const Program& program) {
  Bindings largest;
  for (const auto& [name, range] : program.symbols) largest[name] = range.max;
  for (const Tensor& tensor : program.tensors) {
    const std::string where = "Tensor '" + tensor.name + "'";
    if (tensor.shape.empty() || tensor.shape.size() > 4)
      fail(where, "has no or too many dimensions");
    for (const Expr& extent : tensor.shape) {
      const bool symbol = std::any_of(std::begin(kSymbols), std::end(kSymbols), [&](auto* name) {
        return extent == Expr::symbol(name) && program.symbols.contains(name);
      });
      if (!symbol &&
          (!extent.is_constant() || extent.constant() < 1 || extent.constant() > kMaxExtent)) {
        fail(where, "has the extent " + extent.str());
      }
    }
    const Expr& last = tensor.shape.back();
    if (tensor.dtype == DType::f16 && (!last.is_constant() || last.constant() % 2 != 0)) {
      fail(where, "is f16 with an odd last dimension");
    }
    tensor.bytes().evaluate(largest);  // refuses sizes beyond 64 bits
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
    const bool finite = std::all_of(table.inv_freq.begin(), table.inv_freq.end(),
                                    [](double value) { return std::isfinite(value); });
    if (!finite || !std::isfinite(table.scale)) fail("A rope table", "holds no finite numbers");
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
  }
}

void check_plan(const Program& program, const Lifetimes& lives) {
  const MemoryPlan& plan = program.plan;
  const size_t count = program.tensors.size();
  if (plan.block_of.size() != count || plan.first_use != lives.first_use ||
      plan.last_use != lives.last_use) {
    fail("The memory plan", "has other lifetimes than the operators");
  }
  std::vector<std::vector<size_t>> members(plan.block_bytes.size());
  for (size_t i = 0; i < count; ++i) {
    const Tensor& tensor = program.tensors[i];
    const int32_t block = plan.block_of[i];
    if (tensor.role == TensorRole::state) {
      if (block != kNone) fail("Tensor '" + tensor.name + "'", "is a state in a memory block");
      continue;
    }
    if (block < 0 || static_cast<size_t>(block) >= members.size()) {
      fail("Tensor '" + tensor.name + "'", "has no memory block");
    }
    const Expr& capacity = plan.block_bytes[static_cast<size_t>(block)];
    if (prove_le(tensor.bytes(), capacity, program.symbols) != Proof::yes) {
      fail("Tensor '" + tensor.name + "' of " + tensor.bytes().str() + " bytes",
           "is not proven to fit its block of " + capacity.str());
    }
    members[static_cast<size_t>(block)].push_back(i);
  }
  for (auto& tensors : members) {
    std::sort(tensors.begin(), tensors.end(),
              [&](size_t a, size_t b) { return lives.first_use[a] < lives.first_use[b]; });
    for (size_t i = 1; i < tensors.size(); ++i) {
      if (lives.first_use[tensors[i]] <= lives.last_use[tensors[i - 1]]) {
        fail("Tensors '" + program.tensors[tensors[i - 1]].name + "' and '" +
                 program.tensors[tensors[i]].name + "'",
             "share memory while both are in use");
      }
    }
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
  }
  const Lifetimes lives = compute_lifetimes(program);
  check_results(program, parts, lives);
  check_plan(program, lives);
}

}  // namespace pocket
