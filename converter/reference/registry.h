// Which function computes an operator. A function is pure: inputs and attributes in, outputs out.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "converter/reference/host_tensor.h"

namespace pocket::reference {

struct Call {
  const ir::Node& node;
  std::vector<const HostTensor*> inputs;  // null for an omitted optional input
  int64_t opset = 0;                      // of the default ONNX domain

  bool has(size_t index) const { return index < inputs.size() && inputs[index] != nullptr; }
  const HostTensor& input(size_t index) const;  // Error(bad_input) when it is omitted
  // Input `index` as integers, else the attribute, else the fallback: ONNX moved many attributes
  // to inputs over its versions.
  std::vector<int64_t> integers(size_t index, const std::string& attribute,
                                std::vector<int64_t> fallback = {}) const;
  [[noreturn]] void fail(const std::string& what) const;  // Error(bad_input) naming the node
};

using Function = std::vector<HostTensor> (*)(const Call&);

class Registry {
 public:
  void add(const std::string& domain, const std::string& op, Function);   // replaces
  Function find(const std::string& domain, const std::string& op) const;  // null when unknown

 private:
  std::map<std::pair<std::string, std::string>, Function> functions_;
};

// Every operator of ir/operators.cpp and the computations of pocket_ops.h.
const Registry& standard_registry();

}  // namespace pocket::reference
