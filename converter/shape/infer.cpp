#include "converter/shape/infer.h"

#include <algorithm>
#include <sstream>

#include "converter/ir/operators.h"
#include "converter/reference/executor.h"
#include "converter/shape/elements.h"
#include "converter/shape/rule.h"
#include "runtime/base/error.h"

namespace pocket::shape {

namespace {

// All folded constants of one model together; beyond it nodes stay as they are.
constexpr int64_t kFoldBudget = int64_t{1} << 26;

class Inference {
 public:
  Inference(ir::Graph& graph, const InferOptions& options) : graph_(graph), options_(options) {}

  InferReport run() {
    const std::vector<ir::NodeId> order = graph_.order();
    report_.nodes_before = static_cast<int>(order.size());
    for (const ir::NodeId id : order) visit(id);
    graph_.remove_dead();
    report_.nodes_after = static_cast<int>(graph_.order().size());
    collect_unresolved();
    graph_.verify();
    return std::move(report_);
  }

 private:
  void visit(ir::NodeId id) {
    const ir::Node& node = graph_.node(id);
    const auto rule = shape_rules().find({node.domain, node.op});
    if (rule == shape_rules().end()) {
      reasons_[id] = "operator " + node.op + " has no shape rule";
      return;  // what a pass has annotated itself stays
    }
    ir::check_arity(*ir::find_operator(node.domain, node.op), node);
    Call call{node, {}, graph_.symbols};
    for (const ir::ValueId input : node.inputs) {
      call.inputs.push_back(input == ir::kAbsent ? nullptr : &graph_.value(input));
    }
    std::vector<Output> outputs;
    std::optional<std::vector<std::vector<Expr>>> elements;
    try {
      outputs = rule->second(call);
      if (outputs.size() < node.outputs.size()) call.fail("has more outputs than it computes");
      outputs.resize(node.outputs.size());
      if (ir::find_operator(node.domain, node.op)->kind == ir::OperatorClass::shape_computing) {
        elements = output_elements(call, outputs);
      }
    } catch (const Unresolved& unresolved) {
      // A rule may fail for want of contents that are all constant: computing tells.
      reasons_[id] = unresolved.reason;
      return;
    }
    annotate(node, outputs);
    if (elements)
      fold_elements(id, *elements);
    else
      fold_constant(id, outputs);
  }

  void annotate(const ir::Node& node, const std::vector<Output>& outputs) {
    for (size_t k = 0; k < node.outputs.size(); ++k) {
      if (node.outputs[k] == ir::kAbsent) continue;
      ir::Value& value = graph_.value(node.outputs[k]);
      value.type = outputs[k].type;
      value.shape = outputs[k].shape;
    }
  }

  void fold_elements(ir::NodeId id, const std::vector<std::vector<Expr>>& elements) {
    const std::vector<ir::ValueId> outputs = graph_.node(id).outputs;
    graph_.erase(id);
    bool symbolic = false;
    for (size_t k = 0; k < outputs.size(); ++k) {
      if (outputs[k] == ir::kAbsent) continue;
      ir::Value& value = graph_.value(outputs[k]);
      const auto constant = [](const Expr& x) { return x.is_constant(); };
      if (std::all_of(elements[k].begin(), elements[k].end(), constant)) {
        reference::Shape shape;
        for (const Expr& dim : *value.shape) shape.push_back(dim.constant());
        reference::HostTensor tensor = reference::HostTensor::make(value.type, shape);
        for (size_t i = 0; i < elements[k].size(); ++i) {
          tensor.i[i] = reference::wrap_integer(value.type, elements[k][i].constant());
        }
        value.constant = tensor.to_data();
      } else {
        value.elements = elements[k];
        symbolic = true;
      }
    }
    ++(symbolic ? report_.folded_symbolic : report_.folded_constant);
  }

  // A constant that may be read to compute others at conversion time.
  bool foldable(const ir::Value& value) const {
    if (!value.constant) return false;
    const ir::TensorData& data = *value.constant;
    if (data.bytes == nullptr && data.byte_size > 0) return false;
    const bool weight =
        ir::is_float_type(data.type) && data.shape.size() >= 2 && data.elements() > kWeightElements;
    return !weight && data.elements() <= options_.fold_elements;
  }

  void fold_constant(ir::NodeId id, const std::vector<Output>& outputs) {
    const ir::Node& node = graph_.node(id);
    for (const ir::ValueId input : node.inputs) {
      if (input != ir::kAbsent && !foldable(graph_.value(input))) return;
    }
    int64_t count = 0;
    for (const Output& output : outputs) {
      int64_t elements = 1;
      for (const Expr& dim : output.shape) {
        if (!dim.is_constant() || dim.constant() < 0) return;
        if (dim.constant() > 0 && elements > options_.fold_elements / dim.constant()) return;
        elements *= dim.constant();
      }
      count += elements;
    }
    if (folded_elements_ + count > kFoldBudget) return;
    const auto function = reference::standard_registry().find(node.domain, node.op);
    if (function == nullptr) return;
    std::vector<reference::HostTensor> inputs(node.inputs.size());
    reference::Call call{node, {}, graph_.opset};
    for (size_t k = 0; k < node.inputs.size(); ++k) {
      if (node.inputs[k] != ir::kAbsent) {
        inputs[k] = reference::HostTensor::from(*graph_.value(node.inputs[k]).constant);
      }
      call.inputs.push_back(node.inputs[k] == ir::kAbsent ? nullptr : &inputs[k]);
    }
    const std::vector<reference::HostTensor> results = function(call);
    folded_elements_ += count;
    const std::vector<ir::ValueId> made = node.outputs;
    graph_.erase(id);
    for (size_t k = 0; k < made.size(); ++k) {
      if (made[k] == ir::kAbsent) continue;
      ir::Value& value = graph_.value(made[k]);
      value.constant = results[k].to_data();
      value.type = value.constant->type;
      value.shape.emplace(results[k].shape.begin(), results[k].shape.end());
    }
    ++report_.folded_constant;
  }

  void collect_unresolved() {
    for (const ir::NodeId id : graph_.order()) {
      const auto reason = reasons_.find(id);
      for (const ir::ValueId output : graph_.node(id).outputs) {
        if (output == ir::kAbsent || graph_.value(output).shape) continue;
        report_.unresolved.push_back(graph_.value(output).name + ": " +
                                     (reason == reasons_.end() ? "unknown" : reason->second));
      }
    }
  }

  ir::Graph& graph_;
  InferOptions options_;
  InferReport report_;
  std::map<ir::NodeId, std::string> reasons_;
  int64_t folded_elements_ = 0;
};

}  // namespace

InferReport infer_shapes(ir::Graph& graph, const InferOptions& options) {
  return Inference(graph, options).run();
}

void require_resolved(const InferReport& report) {
  if (report.unresolved.empty()) return;
  constexpr size_t kNamed = 5;
  std::string list;
  for (size_t k = 0; k < std::min(report.unresolved.size(), kNamed); ++k) {
    list += (k > 0 ? "; " : "") + report.unresolved[k];
  }
  if (report.unresolved.size() > kNamed) list += "; ...";
  throw Error(ExitCode::bad_input, std::to_string(report.unresolved.size()) +
                                       " tensors have no shape in symbols (" + list +
                                       "); export the model with dynamic axes for the sequence.");
}

std::string shapes_text(const ir::Graph& graph) {
  std::ostringstream out;
  const auto line = [&](const char* kind, ir::ValueId id) {
    const ir::Value& value = graph.value(id);
    out << kind << ' ' << value.name << ' ' << ir::element_name(value.type) << ' '
        << (value.shape ? ir::shape_text(*value.shape) : "[?]") << '\n';
  };
  for (const auto& [symbol, range] : graph.symbols) {
    out << "symbol " << symbol << ' ' << range.min << ".." << range.max << '\n';
  }
  for (const ir::ValueId id : graph.inputs) line("input", id);
  std::vector<bool> read(graph.value_count(), false);
  const std::vector<ir::NodeId> order = graph.order();
  for (const ir::NodeId id : order) {
    for (const ir::ValueId input : graph.node(id).inputs) {
      if (input != ir::kAbsent) read[static_cast<size_t>(input)] = true;
    }
  }
  for (size_t k = 0; k < read.size(); ++k) {
    const auto id = static_cast<ir::ValueId>(k);
    if (read[k] && graph.value(id).constant) line("weight", id);
  }
  for (const ir::NodeId id : order) {
    for (const ir::ValueId output : graph.node(id).outputs) {
      if (output != ir::kAbsent && !graph.is_output(output)) line("tensor", output);
    }
  }
  for (const ir::ValueId id : graph.outputs) line("output", id);
  return out.str();
}

}  // namespace pocket::shape
