#include "test/lower/changed_model.h"

#include <cmath>

#include "converter/package/writer.h"
#include "converter/quant/encode.h"
#include "test/support/catch.h"

namespace pocket::test {

using ir::ValueId;

ValueId add_node(ir::Graph& graph, const std::string& op, std::vector<ValueId> inputs,
                 const std::string& domain) {
  ir::Node node;
  node.op = op;
  node.domain = domain;
  node.name = "/changed/" + op + std::to_string(graph.node_count());
  node.inputs = std::move(inputs);
  const ir::NodeId id = graph.add_node(std::move(node));
  return graph.add_output(id, "/changed/" + op + "_output", ir::ElementType::undefined);
}

void replace_value(ir::Graph& graph, const std::string& name,
                   const std::function<ValueId(ValueId)>& make) {
  const ValueId value = graph.find(name);
  REQUIRE(value != ir::kAbsent);
  const std::vector<ir::NodeId> readers = graph.consumers(value);
  const ValueId made = make(value);
  for (const ir::NodeId reader : readers) {
    for (ValueId& input : graph.node(reader).inputs) {
      if (input == value) input = made;
    }
  }
}

void write_f32(const Lowered& lowered, const std::string& path) {
  PackageWriter writer(path);
  for (const LoweredWeight& weight : lowered.weights) {
    WeightFormat format;
    format.rows = weight.source.rows();
    format.columns = weight.source.columns();
    writer.begin_weight(weight.name, weight.shape, format);
    encode_weight(
        weight.name, format,
        [&](int64_t first, int64_t count, float* out) {
          weight.source.read_rows(first, count, out);
        },
        [&](SectionRole role, std::span<const uint8_t> bytes) { writer.append(role, bytes); }, 1);
  }
  Manifest manifest;
  manifest.program = lowered.program;
  writer.finish(std::move(manifest));
}

double distance(const std::vector<float>& actual, const std::vector<float>& expected) {
  if (actual.size() != expected.size()) return INFINITY;
  double error = 0, size = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    error += std::pow(double{actual[i]} - double{expected[i]}, 2);
    size += double{expected[i]} * double{expected[i]};
  }
  const double result = std::sqrt(error / size);
  return std::isfinite(result) ? result : INFINITY;
}

}  // namespace pocket::test
