#include <cstdio>

#include "runtime/program/program.h"

namespace pocket {
namespace {

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", value);
  return text;
}

std::string tensor_text(const Program& program, TensorId id) {
  if (id == kNone) return "-";
  const Tensor& tensor = program.tensors[static_cast<size_t>(id)];
  std::string text = tensor.name + " " + dtype_name(tensor.dtype) + "[";
  for (size_t i = 0; i < tensor.shape.size(); ++i) {
    text += (i ? ", " : "") + tensor.shape[i].str();
  }
  return text + "]";
}

std::string attributes_text(const Operator& op) {
  const Attributes& a = op.attributes;
  std::string text;
  auto add = [&](const std::string& item) { text += " " + item; };
  switch (op.kind) {
    case OpKind::embed:
      if (a.scale != 1.0f) add("scale=" + number(a.scale));
      if (a.position_offset != 0) add("position_offset=" + std::to_string(a.position_offset));
      break;
    case OpKind::norm:
      add(norm_kind_name(a.norm));
      add("epsilon=" + number(a.epsilon));
      break;
    case OpKind::linear:
    case OpKind::gated_linear:
      if (a.activation != Activation::none) add(activation_name(a.activation));
      break;
    case OpKind::unary:
      add(activation_name(a.activation));
      if (a.scale != 1.0f) add("scale=" + number(a.scale));
      break;
    case OpKind::binary:
      add(binary_kind_name(a.binary));
      break;
    case OpKind::attention:
    case OpKind::rotary_kv:
      add("heads=" + std::to_string(a.heads) + "/" + std::to_string(a.kv_heads) + "x" +
          std::to_string(a.head_dim));
      if (op.kind == OpKind::attention) {
        add("scale=" + number(a.scale));
        break;
      }
      add("rotary=" + std::to_string(a.rotary_dim));
      if (a.interleaved) add("interleaved");
      add("columns=" + std::to_string(a.q_column) + "," + std::to_string(a.k_column) + "," +
          std::to_string(a.v_column));
      break;
    case OpKind::select_rows:
      break;
  }
  return text;
}

}  // namespace

std::string to_text(const Program& program) {
  std::string text = "symbols";
  for (const auto& [name, range] : program.symbols) {
    text += " " + name + "=" + std::to_string(range.min) + ".." + std::to_string(range.max);
  }
  text += "\n";
  for (const Segment& segment : program.segments) {
    text += "segment " + segment.name + " (" + part_name(segment.part) + ")\n";
    for (int32_t i = segment.first_op; i < segment.first_op + segment.op_count; ++i) {
      const Operator& op = program.operators[static_cast<size_t>(i)];
      text += "  " + std::to_string(i) + " " + op_kind_name(op.kind) + " " + op.name +
              attributes_text(op) + " (";
      for (size_t k = 0; k < op.inputs.size(); ++k) {
        text += (k ? "; " : "") + tensor_text(program, op.inputs[k]);
      }
      text += ")";
      for (const WeightId id : op.weights) {
        text += " " + (id == kNone ? "-" : program.weights[static_cast<size_t>(id)]);
      }
      text += " ->";
      for (const TensorId id : op.outputs) {
        text += " " + tensor_text(program, id);
        if (id != kNone && static_cast<size_t>(id) < program.plan.block_of.size()) {
          text += " @" + std::to_string(program.plan.block_of[static_cast<size_t>(id)]);
        }
      }
      text += "\n";
    }
  }
  for (size_t i = 0; i < program.plan.block_bytes.size(); ++i) {
    text += "block " + std::to_string(i) + ": " + program.plan.block_bytes[i].str() + " bytes\n";
  }
  return text;
}

}  // namespace pocket
