#include "runtime/program/program.h"

#include "runtime/base/checked.h"

namespace pocket {

size_t dtype_bytes(DType dtype) { return dtype == DType::f16 ? 2 : 4; }

const char* dtype_name(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "f32";
    case DType::f16:
      return "f16";
    case DType::i32:
      return "i32";
  }
  return "?";
}

const char* op_kind_name(OpKind kind) {
  switch (kind) {
    case OpKind::embed:
      return "embed";
    case OpKind::norm:
      return "norm";
    case OpKind::linear:
      return "linear";
    case OpKind::gated_linear:
      return "gated_linear";
    case OpKind::rotary_kv:
      return "rotary_kv";
    case OpKind::attention:
      return "attention";
    case OpKind::unary:
      return "unary";
    case OpKind::binary:
      return "binary";
    case OpKind::select_rows:
      return "select_rows";
  }
  return "?";
}

const char* activation_name(Activation activation) {
  switch (activation) {
    case Activation::none:
      return "none";
    case Activation::relu:
      return "relu";
    case Activation::gelu_erf:
      return "gelu_erf";
    case Activation::gelu_tanh:
      return "gelu_tanh";
    case Activation::silu:
      return "silu";
    case Activation::tanh:
      return "tanh";
    case Activation::sigmoid:
      return "sigmoid";
  }
  return "?";
}

const char* norm_kind_name(NormKind kind) { return kind == NormKind::rms ? "rms" : "layer"; }
const char* binary_kind_name(BinaryKind kind) { return kind == BinaryKind::add ? "add" : "mul"; }
const char* part_name(Part part) { return part == Part::body ? "body" : "head"; }

Expr Tensor::bytes() const {
  Expr product(static_cast<int64_t>(dtype_bytes(dtype)));
  for (const Expr& extent : shape) product = product * extent;
  return product;
}

EvaluatedPlan evaluate_plan(const Program& program, const Bindings& bindings) {
  const MemoryPlan& plan = program.plan;
  EvaluatedPlan result;
  std::vector<uint64_t> start, capacity;
  for (const Expr& block : plan.block_bytes) {
    const int64_t bytes = block.evaluate(bindings);
    if (bytes < 0) {
      throw Error(ExitCode::bad_input, "A memory block of " + block.str() + " bytes has the size " +
                                           std::to_string(bytes) + ": convert the model again.");
    }
    start.push_back(result.arena_bytes);
    capacity.push_back(static_cast<uint64_t>(bytes));
    result.arena_bytes = checked_add(
        result.arena_bytes,
        checked_round_up(capacity.back(), static_cast<uint64_t>(MemoryPlan::kAlignment)),
        "the activation arena");
  }
  for (size_t i = 0; i < program.tensors.size(); ++i) {
    const Tensor& tensor = program.tensors[i];
    const int64_t bytes = tensor.bytes().evaluate(bindings);
    const int32_t block = i < plan.block_of.size() ? plan.block_of[i] : kNone;
    const bool state = tensor.role == TensorRole::state;
    const bool planned = block >= 0 && static_cast<size_t>(block) < start.size();
    if (bytes < 0 || (!state && !planned) ||
        (!state && static_cast<uint64_t>(bytes) > capacity[static_cast<size_t>(block)])) {
      throw Error(ExitCode::bad_input, "Tensor '" + tensor.name + "' of " + std::to_string(bytes) +
                                           " bytes has no " +
                                           "memory block that holds it: convert the model again.");
    }
    result.offset.push_back(state ? 0 : start[static_cast<size_t>(block)]);
    result.bytes.push_back(static_cast<uint64_t>(bytes));
  }
  return result;
}

}  // namespace pocket
