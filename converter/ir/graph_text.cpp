#include <sstream>

#include "converter/ir/graph.h"

namespace pocket::ir {

namespace {

constexpr size_t kListed = 8;  // elements of a list shown before "..."

template <typename List, typename Show>
void write_list(std::ostream& out, const List& list, Show show) {
  out << '[';
  for (size_t i = 0; i < list.size(); ++i) {
    if (i > 0) out << ", ";
    if (i == kListed) {
      out << "... " << list.size() << " in all";
      break;
    }
    show(list[i]);
  }
  out << ']';
}

struct AttributeWriter {
  std::ostream& out;
  void operator()(int64_t x) const { out << x; }
  void operator()(float x) const { out << x; }
  void operator()(const std::string& x) const { out << '"' << x << '"'; }
  void operator()(const TensorData& x) const {
    out << element_name(x.type);
    write_list(out, x.shape, [this](int64_t dim) { out << dim; });
  }
  template <typename T>
  void operator()(const std::vector<T>& list) const {
    write_list(out, list, [this](const T& x) { (*this)(x); });
  }
};

void write_value(std::ostream& out, const Value& value) {
  out << '%' << value.name << ' ' << element_name(value.type) << ' '
      << (value.shape ? shape_text(*value.shape) : "[?]");
  if (value.constant) {
    const TensorData& data = *value.constant;
    if (data.bytes == nullptr && data.byte_size > 0) {
      out << " = absent";
    } else if (data.quantised) {
      out << " = " << element_name(data.quantised->codes.type) << " codes";
    } else if (is_integer_type(data.type) && data.elements() <= static_cast<int64_t>(kListed)) {
      out << " = ";
      write_list(out, data.as_integers(), [&](int64_t x) { out << x; });
    } else if (data.elements() == 1) {
      out << " = " << data.as_floats()[0];
    }
  } else if (value.elements) {
    out << " = ";
    write_list(out, *value.elements, [&](const Expr& x) { out << x.str(); });
  }
}

}  // namespace

std::string shape_text(const std::vector<Expr>& shape) {
  std::string out = "[";
  for (size_t i = 0; i < shape.size(); ++i) out += (i > 0 ? ", " : "") + shape[i].str();
  return out + "]";
}

std::string Graph::to_text() const {
  std::ostringstream out;
  out << "graph " << (name.empty() ? "unnamed" : name) << " opset " << opset << '\n';
  for (const auto& [symbol, range] : symbols) {
    out << "symbol " << symbol << " in " << range.min << ".." << range.max << '\n';
  }
  for (const ValueId id : inputs) {
    out << "input ";
    write_value(out, value(id));
    out << '\n';
  }
  std::vector<bool> read(values_.size(), false);
  const std::vector<NodeId> sorted = order();
  for (const NodeId id : sorted) {
    for (const ValueId input : node(id).inputs) {
      if (input != kAbsent) read[static_cast<size_t>(input)] = true;
    }
  }
  for (const ValueId id : outputs) read[static_cast<size_t>(id)] = true;
  for (size_t i = 0; i < values_.size(); ++i) {
    if (!read[i] || !values_[i].constant) continue;
    out << "constant ";
    write_value(out, values_[i]);
    out << '\n';
  }
  for (const NodeId id : sorted) {
    const Node& current = node(id);
    out << "node ";
    for (size_t i = 0; i < current.outputs.size(); ++i) {
      if (i > 0) out << ", ";
      if (current.outputs[i] == kAbsent)
        out << '_';
      else
        write_value(out, value(current.outputs[i]));
    }
    out << " <- " << (current.domain.empty() ? "" : current.domain + ".") << current.op << '(';
    for (size_t i = 0; i < current.inputs.size(); ++i) {
      if (i > 0) out << ", ";
      if (current.inputs[i] == kAbsent)
        out << '_';
      else
        out << '%' << value(current.inputs[i]).name;
    }
    out << ')';
    for (const auto& [key, attribute] : current.attributes) {
      out << ' ' << key << '=';
      std::visit(AttributeWriter{out}, attribute);
    }
    out << '\n';
  }
  for (const ValueId id : outputs) {
    out << "output ";
    write_value(out, value(id));
    out << '\n';
  }
  for (const StatePair& state : states) {
    out << "state %" << value(state.past).name << " -> %" << value(state.present).name << '\n';
  }
  return out.str();
}

}  // namespace pocket::ir
