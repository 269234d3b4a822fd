#include <algorithm>
#include <cstdio>

#include "runtime/program/program.h"

namespace pocket {
namespace {

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", value);
  return text;
}

std::string id_text(TensorId id) { return "%" + std::to_string(id); }

std::string type_text(const Tensor& tensor) {
  std::string text = std::string(dtype_name(tensor.dtype)) + "[";
  for (size_t i = 0; i < tensor.shape.size(); ++i) {
    text += (i ? ", " : "") + tensor.shape[i].str();
  }
  return text + "]";
}

void pad(std::string& text, size_t width) {
  text.append(text.size() < width ? width - text.size() : 1, ' ');
}

// What the names of a segment's weights have in common, up to a dot.
std::string common_prefix(const Program& program, const Segment& segment) {
  std::string prefix;
  bool first = true;
  for (int32_t i = segment.first_op; i < segment.first_op + segment.op_count; ++i) {
    for (const WeightId id : program.operators[static_cast<size_t>(i)].weights) {
      if (id == kNone) continue;
      const std::string& name = program.weights[static_cast<size_t>(id)];
      if (first) prefix = name;
      first = false;
      size_t same = 0;
      while (same < prefix.size() && same < name.size() && prefix[same] == name[same]) ++same;
      prefix.resize(same);
    }
  }
  const size_t dot = prefix.rfind('.');
  return dot == std::string::npos ? "" : prefix.substr(0, dot + 1);
}

// "add[heads, tokens]", inner dimensions behind a bar.
std::string step_text(const GenericStep& step) {
  std::string text = std::string(generic_function_name(step.function)) + "[";
  const size_t outer = step.domain.size() - static_cast<size_t>(step.inner);
  for (size_t d = 0; d < step.domain.size(); ++d) {
    text += (d == 0 ? "" : d == outer ? " | " : ", ") + step.domain[d].str();
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
        if (a.window != 0) add("window=" + std::to_string(a.window));
        if (a.soft_cap != 0.0f) add("soft_cap=" + number(a.soft_cap));
        break;
      }
      if (std::any_of(op.weights.begin(), op.weights.end(),
                      [](WeightId id) { return id != kNone; })) {
        add(norm_kind_name(a.norm));
      }
      add("rotary=" + std::to_string(a.rotary_dim));
      if (a.interleaved) add("interleaved");
      add("columns=" + std::to_string(a.q_column) + "," + std::to_string(a.k_column) + "," +
          std::to_string(a.v_column));
      break;
    case OpKind::select_rows:
      break;
    case OpKind::generic:
      for (const GenericStep& step : op.steps) add(step_text(step));
      break;
  }
  return text;
}

// "  7 linear       %9 %4            -> %10 f16[tokens, 64]       silu  mlp.up.weight"; states that
// the operator writes are named once, behind it.
void operator_text(const Program& program, int32_t index, const std::string& prefix,
                   std::string& text) {
  const Operator& op = program.operators[static_cast<size_t>(index)];
  std::string line = std::to_string(index);
  line = "  " + std::string(line.size() < 4 ? 4 - line.size() : 0, ' ') + line + " " +
         op_kind_name(op.kind);
  pad(line, 20);
  for (const TensorId id : op.inputs) {
    if (id != kNone) line += id_text(id) + " ";
  }
  pad(line, 40);
  line += "->";
  for (const TensorId id : op.outputs) {
    if (id == kNone) continue;
    line += " " + id_text(id) + " " + type_text(program.tensors[static_cast<size_t>(id)]);
  }
  pad(line, 68);
  std::string rest = attributes_text(op);
  for (const WeightId id : op.weights) {
    if (id == kNone) continue;
    rest += " " + program.weights[static_cast<size_t>(id)].substr(prefix.size());
  }
  if (!rest.empty()) line += rest.substr(1);
  while (line.back() == ' ') line.pop_back();
  text += line + "\n";
  if (op.kind != OpKind::rotary_kv) return;
  for (const TensorId id : op.inputs) {
    if (id == kNone) continue;
    const Tensor& tensor = program.tensors[static_cast<size_t>(id)];
    if (tensor.role != TensorRole::state) continue;
    text += "          " + id_text(id) + " " + tensor.name + " " + type_text(tensor) + "\n";
  }
}

}  // namespace

std::string to_text(const Program& program) {
  std::string text = "symbols";
  for (const auto& [name, range] : program.symbols) {
    text += " " + name + "=" + std::to_string(range.min) + ".." + std::to_string(range.max);
  }
  text += "\n";
  for (const Segment& segment : program.segments) {
    const std::string prefix = common_prefix(program, segment);
    text += "segment " + segment.name + " (" + part_name(segment.part) + ")";
    if (!prefix.empty()) text += ", weights " + prefix + "*";
    text += "\n";
    for (int32_t i = segment.first_op; i < segment.first_op + segment.op_count; ++i) {
      operator_text(program, i, prefix, text);
    }
  }
  return text;
}

}  // namespace pocket
