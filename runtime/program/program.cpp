#include "runtime/program/program.h"

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
    case OpKind::generic:
      return "generic";
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
    case Activation::quick_gelu:
      return "quick_gelu";
    case Activation::relu_square:
      return "relu_square";
    case Activation::exp:
      return "exp";
    case Activation::log:
      return "log";
    case Activation::sqrt:
      return "sqrt";
    case Activation::neg:
      return "neg";
    case Activation::abs:
      return "abs";
    case Activation::softplus:
      return "softplus";
    case Activation::reciprocal:
      return "reciprocal";
    case Activation::square:
      return "square";
    case Activation::erf:
      return "erf";
  }
  return "?";
}

const char* norm_kind_name(NormKind kind) { return kind == NormKind::rms ? "rms" : "layer"; }
const char* binary_kind_name(BinaryKind kind) {
  switch (kind) {
    case BinaryKind::add:
      return "add";
    case BinaryKind::mul:
      return "mul";
    case BinaryKind::sub:
      return "sub";
    case BinaryKind::div:
      return "div";
  }
  return "?";
}
const char* part_name(Part part) { return part == Part::body ? "body" : "head"; }

Expr Tensor::bytes() const {
  Expr product(static_cast<int64_t>(dtype_bytes(dtype)));
  for (const Expr& extent : shape) product = product * extent;
  return product;
}

}  // namespace pocket
