#include "converter/onnx/import.h"

#include <onnx/onnx_pb.h>

#include <map>
#include <set>
#include <utility>

#include "converter/ir/operators.h"
#include "converter/onnx/branches.h"
#include "converter/onnx/decoder_check.h"
#include "converter/onnx/expand.h"
#include "converter/onnx/external_data.h"
#include "converter/onnx/functions.h"
#include "converter/onnx/hf_config.h"
#include "converter/onnx/model_file.h"
#include "converter/onnx/names.h"
#include "converter/onnx/states.h"
#include "converter/onnx/symbols.h"
#include "converter/onnx/tensors.h"
#include "converter/shape/infer.h"
#include "converter/shape/rule.h"
#include "runtime/base/error.h"

namespace pocket::onnx_import {

namespace {

constexpr int64_t kOldestOpset = 9;   // of older ones the operators' meaning was never read
constexpr int64_t kNewestOpset = 28;  // the newest whose changes this table has been read against
constexpr int64_t kDefaultContext = 4096;

[[noreturn]] void fail(const std::string& message) { throw Error(ExitCode::bad_input, message); }

std::string plain_domain(const std::string& domain) { return domain == "ai.onnx" ? "" : domain; }

bool has_subgraph(const onnx::NodeProto& node) {
  for (const onnx::AttributeProto& attribute : node.attribute()) {
    if (attribute.has_g() || attribute.graphs_size() > 0) return true;
  }
  return false;
}

// Everything that cannot be converted, in one sentence.
void refuse_unsupported(const onnx::GraphProto& graph) {
  constexpr size_t kNamedNodes = 3;
  std::map<std::string, std::vector<std::string>> unsupported;
  for (const onnx::NodeProto& node : graph.node()) {
    const std::string domain = plain_domain(node.domain());
    if (ir::find_operator(domain, node.op_type()) != nullptr && !has_subgraph(node)) continue;
    const std::string name =
        node.name().empty() && node.output_size() > 0 ? node.output(0) : node.name();
    unsupported[(domain.empty() ? "" : domain + ".") + node.op_type()].push_back(name);
  }
  if (unsupported.empty()) return;
  std::string list;
  for (const auto& [op, nodes] : unsupported) {
    list += (list.empty() ? "" : "; ") + op + " x" + std::to_string(nodes.size()) + " (";
    for (size_t k = 0; k < nodes.size() && k < kNamedNodes; ++k) {
      list += (k > 0 ? ", " : "") + nodes[k];
    }
    list += nodes.size() > kNamedNodes ? ", ...)" : ")";
  }
  fail("the model uses " + std::to_string(unsupported.size()) + " unsupported operator" +
       (unsupported.size() > 1 ? "s" : "") + ": " + list +
       "; export it as a plain text-generation-with-past decoder.");
}

int64_t default_opset(const onnx::ModelProto& model) {
  int64_t opset = 0;
  for (const onnx::OperatorSetIdProto& set : model.opset_import()) {
    if (plain_domain(set.domain()).empty()) opset = set.version();
  }
  if (opset < kOldestOpset) {
    fail("the model's operator set is " + std::to_string(opset) + " but " +
         std::to_string(kOldestOpset) + " is the oldest supported; export it with --opset 18.");
  }
  return opset;
}

class Importer {
 public:
  Importer(std::shared_ptr<const onnx::ModelProto> model, const TensorReader& tensors,
           ir::Graph& graph)
      : model_(std::move(model)), tensors_(tensors), graph_(graph) {}

  // The part that `value` depends on, with it as the only output.
  void run_towards(const std::string& value) {
    const onnx::GraphProto& source = model_->graph();
    std::map<std::string, const onnx::NodeProto*> producers;
    for (const onnx::NodeProto& node : source.node()) {
      for (const std::string& output : node.output()) producers.emplace(output, &node);
    }
    std::set<std::string> names;
    std::set<const onnx::NodeProto*> needed;
    std::vector<std::string> work{value};
    while (!work.empty()) {
      const std::string name = work.back();
      work.pop_back();
      if (name.empty() || !names.insert(name).second) continue;
      const auto producer = producers.find(name);
      if (producer == producers.end() || !needed.insert(producer->second).second) continue;
      work.insert(work.end(), producer->second->input().begin(), producer->second->input().end());
    }
    for (const onnx::TensorProto& tensor : source.initializer()) {
      if (names.contains(tensor.name())) {
        define(tensor.name(), graph_.add_constant(tensor.name(), tensors_.read(tensor)));
      }
    }
    for (const onnx::ValueInfoProto& input : source.input()) {
      if (!ids_.contains(input.name())) add_input(input);
    }
    for (const onnx::NodeProto& node : source.node()) {
      if (needed.contains(&node)) add_node(node);
    }
    graph_.outputs.push_back(defined(value, "a condition"));
  }

  void run() {
    const onnx::GraphProto& source = model_->graph();
    if (source.sparse_initializer_size() > 0) {
      fail("the model has sparse initialisers, which are unsupported; export dense ones.");
    }
    for (const onnx::TensorProto& tensor : source.initializer()) {
      define(tensor.name(), graph_.add_constant(tensor.name(), tensors_.read(tensor)));
    }
    for (const onnx::ValueInfoProto& input : source.input()) {
      if (!ids_.contains(input.name())) add_input(input);  // else an initialiser, also listed
    }
    for (const onnx::NodeProto& node : source.node()) add_node(node);
    for (const onnx::ValueInfoProto& output : source.output()) {
      graph_.outputs.push_back(defined(output.name(), "the graph's outputs"));
    }
    if (graph_.outputs.empty()) fail("the model has no outputs; export it again.");
  }

 private:
  void define(const std::string& name, ir::ValueId id) {
    if (name.empty() || !ids_.emplace(name, id).second) {
      fail("value \"" + name + "\" of the model is defined twice or has no name; export it again.");
    }
  }

  ir::ValueId defined(const std::string& name, const std::string& reader) const {
    const auto it = ids_.find(name);
    if (it == ids_.end()) {
      fail("value \"" + name + "\", read by " + reader +
           ", is made by nothing before it; export "
           "the model again.");
    }
    return it->second;
  }

  void add_input(const onnx::ValueInfoProto& input) {
    if (!input.type().has_tensor_type()) {
      fail("input \"" + input.name() + "\" is not a tensor; export a plain decoder.");
    }
    const onnx::TypeProto::Tensor& type = input.type().tensor_type();
    ir::Value value;
    value.name = input.name();
    value.type = ir::element_from_onnx(type.elem_type());
    if (value.type == ir::ElementType::undefined) {
      fail("input \"" + input.name() + "\" has the unsupported element type " +
           std::to_string(type.elem_type()) + "; export the model in another precision.");
    }
    if (!type.has_shape()) {
      fail("input \"" + input.name() + "\" has no shape; export the model with dynamic axes.");
    }
    std::vector<Expr> shape;
    for (const auto& dim : type.shape().dim()) {
      if (dim.has_dim_value()) {
        if (dim.dim_value() < 0) {
          fail("input \"" + input.name() + "\" has the dimension " +
               std::to_string(dim.dim_value()) + "; export the model again.");
        }
        shape.emplace_back(dim.dim_value());
      } else {
        const std::string own = input.name() + "_" + std::to_string(shape.size());
        shape.push_back(dimension_expression(dim.dim_param().empty() ? own : dim.dim_param()));
      }
    }
    value.shape = std::move(shape);
    const ir::ValueId id = graph_.add_value(std::move(value));
    define(input.name(), id);
    graph_.inputs.push_back(id);
  }

  ir::Attribute attribute_of(const onnx::AttributeProto& a, const std::string& node) const {
    switch (a.type()) {
      case onnx::AttributeProto::INT:
        return int64_t{a.i()};
      case onnx::AttributeProto::FLOAT:
        return a.f();
      case onnx::AttributeProto::STRING:
        return a.s();
      case onnx::AttributeProto::INTS:
        return std::vector<int64_t>(a.ints().begin(), a.ints().end());
      case onnx::AttributeProto::FLOATS:
        return std::vector<float>(a.floats().begin(), a.floats().end());
      case onnx::AttributeProto::STRINGS:
        return std::vector<std::string>(a.strings().begin(), a.strings().end());
      case onnx::AttributeProto::TENSOR:
        return tensors_.read(a.t());
      default:
        break;
    }
    fail("attribute " + a.name() + " of node \"" + node +
         "\" has an unsupported kind; export the "
         "model again.");
  }

  void add_node(const onnx::NodeProto& source) {
    ir::Node node;
    node.domain = plain_domain(source.domain());
    node.op = source.op_type();
    node.name =
        source.name().empty() && source.output_size() > 0 ? source.output(0) : source.name();
    for (const std::string& input : source.input()) {
      node.inputs.push_back(input.empty() ? ir::kAbsent : defined(input, "node " + node.name));
    }
    for (const onnx::AttributeProto& attribute : source.attribute()) {
      node.attributes.insert_or_assign(attribute.name(), attribute_of(attribute, node.name));
    }
    if (node.op == "Constant" && source.output_size() == 1) {
      define(source.output(0), graph_.add_constant(source.output(0), constant_of(node)));
      return;
    }
    // Trailing outputs may be left out by an empty name, and so may trailing inputs.
    while (!node.inputs.empty() && node.inputs.back() == ir::kAbsent) node.inputs.pop_back();
    int outputs = source.output_size();
    while (outputs > 0 && source.output(outputs - 1).empty()) --outputs;
    const ir::NodeId id = graph_.add_node(std::move(node));
    for (int k = 0; k < outputs; ++k) {
      const std::string& name = source.output(k);
      if (name.empty()) {
        graph_.node(id).outputs.push_back(ir::kAbsent);
      } else {
        define(name, graph_.add_output(id, name, ir::ElementType::undefined));
      }
    }
  }

  static ir::TensorData constant_of(const ir::Node& node) {
    for (const auto& [key, attribute] : node.attributes) {
      if (const auto* x = std::get_if<ir::TensorData>(&attribute)) return *x;
      if (const auto* x = std::get_if<int64_t>(&attribute)) {
        return ir::TensorData::from_integers({}, {*x});
      }
      if (const auto* x = std::get_if<float>(&attribute)) {
        return ir::TensorData::from_floats({}, {*x});
      }
      if (const auto* x = std::get_if<std::vector<int64_t>>(&attribute)) {
        return ir::TensorData::from_integers({static_cast<int64_t>(x->size())}, *x);
      }
      if (const auto* x = std::get_if<std::vector<float>>(&attribute)) {
        return ir::TensorData::from_floats({static_cast<int64_t>(x->size())}, *x);
      }
    }
    fail("constant \"" + node.name +
         "\" has no value of a supported kind; export the model again.");
  }

  std::shared_ptr<const onnx::ModelProto> model_;
  const TensorReader& tensors_;
  ir::Graph& graph_;
  std::map<std::string, ir::ValueId> ids_;
};

// The value of a condition that follows from shapes and constants.
std::optional<bool> folded_condition(const std::shared_ptr<const onnx::ModelProto>& model,
                                     const TensorReader& tensors, int64_t opset, int64_t context,
                                     const std::string& name) {
  ir::Graph graph;
  graph.opset = opset;
  try {
    Importer(model, tensors, graph).run_towards(name);
    for (const ir::ValueId id : graph.inputs) {
      if (names_past(graph.value(id).name)) graph.states.push_back({id, ir::kAbsent});
    }
    std::vector<std::string> ignored;
    unify_symbols(graph, context, ignored);
    graph.states.clear();
    shape::infer_shapes(graph);
  } catch (const Error&) {
    return std::nullopt;  // what is wrong will be said when the whole graph is read
  }
  const auto known = shape::known_elements(graph.value(graph.outputs[0]));
  if (!known || known->size() != 1 || !(*known)[0].is_constant()) return std::nullopt;
  return (*known)[0].constant() != 0;
}

// Inputs that say how many rows of logits to return (0: all) are constants here: the program
// chooses rows itself.
void fix_row_counts(ir::Graph& graph, std::vector<std::string>& notes) {
  std::vector<ir::ValueId> kept;
  for (const ir::ValueId id : graph.inputs) {
    const ir::Value& input = graph.value(id);
    if (input.name.find("logits_to_keep") == std::string::npos || !input.shape ||
        input.shape->size() > 1 || !ir::is_integer_type(input.type)) {
      kept.push_back(id);
      continue;
    }
    notes.push_back("Input \"" + input.name + "\" is always 0: all rows of logits.");
    ir::TensorData zero =
        ir::TensorData::from_bytes(input.type, std::vector<int64_t>(input.shape->size(), 1),
                                   std::vector<std::byte>(ir::element_bits(input.type) / 8));
    graph.value(id).constant = std::move(zero);
    graph.value(id).shape = std::vector<Expr>(input.shape->size(), Expr(1));
  }
  graph.inputs = kept;
}

}  // namespace

ir::Graph import_model(const std::string& path, ImportReport* report_out,
                       const ImportOptions& options) {
  ImportReport report;
  const std::filesystem::path file = find_model(path);
  report.model_file = file.string();
  report.folder = file.has_parent_path() ? file.parent_path().string() : ".";
  const std::shared_ptr<onnx::ModelProto> model = parse_model(file);
  check_names(*model);
  report.producer = model->producer_name() + " " + model->producer_version();
  report.opset = default_opset(*model);
  if (report.opset > kNewestOpset) {
    report.notes.push_back("Operator set " + std::to_string(report.opset) +
                           " is newer than this program's table.");
  }
  inline_functions(*model);
  const HfConfig config = read_hf_config(report.folder);
  report.context_is_default = !config.max_context.has_value();
  report.context = config.max_context.value_or(kDefaultContext);

  ExternalData external(report.folder);
  {
    ImportReport unused;  // conditions read their constants before the graph does
    const TensorReader tensors(model, external, true, unused);
    resolve_branches(
        *model,
        [&](const std::string& value) {
          return folded_condition(model, tensors, report.opset, report.context, value);
        },
        report.notes);
    inline_functions(*model, "_branch");  // calls that stood in branches
  }
  refuse_unsupported(model->graph());

  ir::Graph graph;
  graph.name = model->graph().name();
  graph.opset = report.opset;
  const TensorReader tensors(model, external, options.external_data_may_be_absent, report);
  Importer(model, tensors, graph).run();
  report.nodes = static_cast<int64_t>(graph.node_count());
  report.constants = static_cast<int64_t>(graph.value_count() - graph.inputs.size()) - report.nodes;
  for (const auto& [location, mapped] : external.files()) report.external_files.push_back(location);

  if (pair_states(graph) == 0) {
    report.notes.push_back("The model has no inputs and outputs for past keys and values.");
  }
  fix_row_counts(graph, report.notes);
  refuse_training_graph(graph);
  unify_symbols(graph, report.context, report.notes);
  settle_states(graph);
  unpack_states(graph);
  if (options.expand_operators) expand_operators(graph, &report.notes);
  graph.verify();
  if (report_out != nullptr) *report_out = std::move(report);
  return graph;
}

}  // namespace pocket::onnx_import
