#include "runtime/program/lifetimes.h"

#include <algorithm>

#include "runtime/base/error.h"

namespace pocket {
namespace {

[[noreturn]] void fail(const Program& program, size_t tensor, const std::string& what) {
  throw Error(ExitCode::bad_input, "Tensor '" + program.tensors[tensor].name + "' is " + what +
                                       ": the program is inconsistent, convert the model again.");
}

}  // namespace

Lifetimes compute_lifetimes(const Program& program) {
  Lifetimes lives;
  lives.first_use.assign(program.tensors.size(), kNone);
  lives.last_use.assign(program.tensors.size(), kNone);
  auto is_state = [&](size_t tensor) { return program.tensors[tensor].role == TensorRole::state; };
  for (size_t op = 0; op < program.operators.size(); ++op) {
    const auto at = static_cast<int32_t>(op);
    for (const TensorId id : program.operators[op].inputs) {
      if (id == kNone || is_state(static_cast<size_t>(id))) continue;
      const auto tensor = static_cast<size_t>(id);
      if (lives.first_use[tensor] == kNone) {
        fail(program, tensor, "read by '" + program.operators[op].name + "' before it is written");
      }
      lives.last_use[tensor] = at;
    }
    for (const TensorId id : program.operators[op].outputs) {
      if (id == kNone) continue;
      const auto tensor = static_cast<size_t>(id);
      if (is_state(tensor)) fail(program, tensor, "a state that is listed as an output");
      if (lives.first_use[tensor] != kNone) fail(program, tensor, "written twice");
      lives.first_use[tensor] = at;
      lives.last_use[tensor] = at;
    }
  }
  for (size_t tensor = 0; tensor < program.tensors.size(); ++tensor) {
    if (!is_state(tensor) && lives.first_use[tensor] == kNone)
      fail(program, tensor, "never written");
  }
  for (const TensorId id : {program.hidden, program.logits}) {
    if (id != kNone && !is_state(static_cast<size_t>(id))) {
      lives.last_use[static_cast<size_t>(id)] = static_cast<int32_t>(program.operators.size()) - 1;
    }
  }
  return lives;
}

}  // namespace pocket
