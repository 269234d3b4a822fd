#include "test/passes/graph_maker.h"

#include <random>

#include "converter/reference/executor.h"
#include "converter/shape/infer.h"
#include "test/passes/decoder_run.h"
#include "test/support/catch.h"

namespace pocket::test {

using ir::ValueId;

namespace {

std::vector<float> random_floats(uint32_t seed, int64_t count) {
  std::mt19937 generator(seed);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) {
    value = static_cast<float>(generator() % 20001) / 10000.0f - 1.0f;
  }
  return values;
}

}  // namespace

GraphMaker::GraphMaker() {
  graph.opset = 18;
  graph.symbols = {{"tokens", {1, 64}}, {"past", {0, 64}}};
}

ValueId GraphMaker::input(const std::string& name, std::vector<Expr> shape, ir::ElementType type) {
  ir::Value value;
  value.name = name;
  value.type = type;
  value.shape = std::move(shape);
  const ValueId id = graph.add_value(std::move(value));
  graph.inputs.push_back(id);
  return id;
}

ValueId GraphMaker::constant(std::vector<int64_t> shape, std::vector<float> values) {
  return graph.add_constant("constant",
                            ir::TensorData::from_floats(std::move(shape), std::move(values)));
}

ValueId GraphMaker::random(std::vector<int64_t> shape) {
  int64_t count = 1;
  for (const int64_t dim : shape) count *= dim;
  return constant(std::move(shape), random_floats(++seed_, count));
}

ValueId GraphMaker::scalar(float value) { return constant({}, {value}); }

ValueId GraphMaker::integers(std::vector<int64_t> values) {
  const auto size = static_cast<int64_t>(values.size());
  return graph.add_constant("integers", ir::TensorData::from_integers({size}, std::move(values)));
}

ValueId GraphMaker::op(const std::string& name, std::vector<ValueId> inputs,
                       std::map<std::string, ir::Attribute> attributes) {
  ir::Node node;
  node.op = name;
  node.name = "/" + name + std::to_string(graph.node_count());
  node.inputs = std::move(inputs);
  node.attributes = std::move(attributes);
  const ir::NodeId id = graph.add_node(std::move(node));
  return graph.add_output(id, name + "_out", ir::ElementType::undefined);
}

void GraphMaker::output(ValueId value) { graph.outputs.push_back(value); }

std::vector<reference::HostTensor> GraphMaker::compute() const {
  const Bindings bindings{{"tokens", 5}, {"past", stateless ? 0 : 3}};
  reference::Feeds feeds;
  uint32_t seed = 1000;
  for (const ValueId id : graph.inputs) {
    const ir::Value& value = graph.value(id);
    std::vector<int64_t> shape;
    for (const Expr& dim : *value.shape) shape.push_back(dim.evaluate(bindings));
    auto tensor = reference::HostTensor::make(value.type, shape);
    if (tensor.is_integer()) {
      const bool mask = value.name == "attention_mask";
      const int64_t first = value.name == "position_ids" ? bindings.at("past") : 0;
      for (size_t i = 0; i < tensor.i.size(); ++i) {
        tensor.i[i] = mask ? 1 : first + static_cast<int64_t>(i);
      }
    } else {
      tensor.f = random_floats(++seed, tensor.elements());
    }
    feeds.emplace(id, std::move(tensor));
  }
  reference::RunOptions options;
  options.bindings = bindings;  // symbols that no input has
  const auto results = reference::run(graph, feeds, options);
  std::vector<reference::HostTensor> ordered;
  for (const ValueId id : graph.outputs) ordered.push_back(results.at(id));
  return ordered;
}

int GraphMaker::apply(int (*rewrite)(PassContext&)) {
  if (!inferred_) shape::require_resolved(shape::infer_shapes(graph));
  inferred_ = true;
  const auto before = compute();
  PassContext context{graph, {64}, {}, stateless};
  const int hits = rewrite(context);
  graph.remove_dead();
  graph.verify();
  notes = context.notes;
  auto after = compute();
  if (stateless && after.size() > before.size()) after.resize(before.size());  // new states
  CHECK(worst_distance(before, after) <= 1e-5);
  return hits;
}

int GraphMaker::count(const std::string& op_name) const {
  int found = 0;
  for (const ir::NodeId id : graph.order()) found += graph.node(id).op == op_name ? 1 : 0;
  return found;
}

const ir::Node& GraphMaker::only(const std::string& op_name) const {
  REQUIRE(count(op_name) == 1);
  for (const ir::NodeId id : graph.order()) {
    if (graph.node(id).op == op_name) return graph.node(id);
  }
  throw std::logic_error("unreachable");
}

}  // namespace pocket::test
