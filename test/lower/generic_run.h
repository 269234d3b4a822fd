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
#include "runtime/vulkan/compute_context.h"
#include "runtime/vulkan/device.h"

namespace pocket::test {

// The device at hand, as it is and under limits.
struct LimitedDevice {
  LimitedDevice(std::string name, const DeviceOptions&);
  const std::string name;  // of the file below test/limits, or "as it is"
  Device device;
  ComputeContext compute;
};
LimitedDevice& whole_device();
// One for every file below test/limits.
const std::vector<LimitedDevice*>& limited_devices();

struct StepSize {
  int64_t tokens = 1, past = 0;
};

// Every graph input is a tensor of the program (of half precision where the graph says so); nodes
// become generic operators in order.
class GenericRun {
 public:
  explicit GenericRun(const ir::Graph&);  // shapes inferred; fails the test on a refused node

  // Outputs of the graph, in its order, as the reference executor lays them out.
  std::vector<reference::HostTensor> expected(const StepSize&, uint32_t seed);
  std::vector<reference::HostTensor> on_host(const StepSize&, uint32_t seed);
  std::vector<reference::HostTensor> on_device(const StepSize&, uint32_t seed,
                                               LimitedDevice& = whole_device());

  // The same for inputs that are given.
  std::vector<reference::HostTensor> on_device(const StepSize&, const reference::Feeds&,
                                               LimitedDevice& = whole_device());

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
