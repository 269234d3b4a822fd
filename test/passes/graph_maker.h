// Small ONNX graphs written by hand, for single rewrites.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "converter/ir/graph.h"
#include "converter/passes/passes.h"
#include "converter/reference/host_tensor.h"

namespace pocket::test {

class GraphMaker {
 public:
  GraphMaker();

  ir::ValueId input(const std::string& name, std::vector<Expr> shape,
                    ir::ElementType type = ir::ElementType::f32);
  ir::ValueId constant(std::vector<int64_t> shape, std::vector<float> values);
  ir::ValueId random(std::vector<int64_t> shape);  // different numbers at every call
  ir::ValueId scalar(float value);
  ir::ValueId integers(std::vector<int64_t> values);
  ir::ValueId op(const std::string& name, std::vector<ir::ValueId> inputs,
                 std::map<std::string, ir::Attribute> attributes = {});
  void output(ir::ValueId);

  // Infers shapes, runs one rewrite and removes what it left dead. Checks that the reference
  // computes the same outputs for the same random inputs. Returns the rewrite's hits.
  int apply(int (*rewrite)(PassContext&));
  int count(const std::string& op_name) const;  // live nodes
  const ir::Node& only(const std::string& op_name) const;

  ir::Graph graph;
  std::vector<std::string> notes;
  bool stateless = false;  // as PassContext has it; the graph is computed without a past

 private:
  std::vector<reference::HostTensor> compute() const;
  bool inferred_ = false;
  uint32_t seed_ = 1;
};

inline Expr tokens() { return Expr::symbol("tokens"); }

}  // namespace pocket::test
