#include "converter/reference/registry.h"

#include "converter/reference/operators.h"
#include "converter/reference/pocket_ops.h"
#include "runtime/base/error.h"

namespace pocket::reference {

void Call::fail(const std::string& what) const {
  throw Error(ExitCode::bad_input, "operator " + node.op + " \"" + node.name + "\" " + what +
                                       "; the graph cannot be computed.");
}

const HostTensor& Call::input(size_t index) const {
  if (!has(index)) fail("lacks its input " + std::to_string(index));
  return *inputs[index];
}

std::vector<int64_t> Call::integers(size_t index, const std::string& attribute,
                                    std::vector<int64_t> fallback) const {
  if (!has(index)) return node.integers(attribute, std::move(fallback));
  if (!inputs[index]->is_integer()) fail("needs integers in its input " + std::to_string(index));
  return inputs[index]->i;
}

void Registry::add(const std::string& domain, const std::string& op, Function function) {
  functions_[{domain, op}] = function;
}

Function Registry::find(const std::string& domain, const std::string& op) const {
  const auto it = functions_.find({domain, op});
  return it == functions_.end() ? nullptr : it->second;
}

const Registry& standard_registry() {
  static const Registry kRegistry = [] {
    Registry registry;
    register_elementwise(registry);
    register_matmul(registry);
    register_movement(registry);
    register_gather(registry);
    register_reduce(registry);
    register_extras(registry);
    register_quantised(registry);
    register_rotary(registry);
    register_standard_attention(registry);
    register_fused_norm(registry);
    register_fused_attention(registry);
    register_pocket_ops(registry);
    return registry;
  }();
  return kRegistry;
}

}  // namespace pocket::reference
