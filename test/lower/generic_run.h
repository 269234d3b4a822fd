// Lowers a small graph to generic operators alone and computes them: by the host reference and on
// the device, for one step of given past and tokens.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "converter/ir/graph.h"
#include "converter/lower/program_builder.h"
#include "converter/reference/executor.h"
#include "runtime/kernels/reference.h"

namespace pocket::test {

struct StepSize {
  int64_t tokens = 1, past = 0;
};

// Every graph input is a tensor of the program; nodes become generic operators in order.
class GenericRun {
 public:
  explicit GenericRun(const ir::Graph&);  // shapes inferred; fails the test on a refused node

  // Outputs of the graph, in its order, as the reference executor lays them out.
  std::vector<reference::HostTensor> expected(const StepSize&, uint32_t seed);
  std::vector<reference::HostTensor> on_host(const StepSize&, uint32_t seed);
  std::vector<reference::HostTensor> on_device(const StepSize&, uint32_t seed);

  // The same for inputs that are given.
  std::vector<reference::HostTensor> on_device(const StepSize&, const reference::Feeds&);

  const Program& program() const { return manifest_.program; }

 private:
  reference::Feeds feeds(const StepSize&, uint32_t seed) const;
  HostState state(const StepSize&, const reference::Feeds&) const;
  std::vector<reference::HostTensor> results(const HostState&, const StepSize&) const;

  const ir::Graph& graph_;
  ProgramBuilder builder_;
  Manifest manifest_;
  std::map<WeightId, WeightRows> weights_;
  std::vector<std::vector<uint8_t>> bytes_;  // by weight
};

// Largest difference relative to the root mean square of what is expected; infinity when shapes
// or integers differ.
double worst_error(const std::vector<reference::HostTensor>& expected,
                   const std::vector<reference::HostTensor>& actual);

}  // namespace pocket::test
