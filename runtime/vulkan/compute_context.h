// Runs dispatches over host data and reads everything back: a few lines for a kernel test, the
// self-test and the probes. Not the decode path: it allocates, records and waits on each call.
//
//   ComputeContext context(device);
//   std::vector<float> x = ..., y(64);
//   std::array buffers = {host_bytes(x), host_bytes(y)};
//   context.run(buffers, {.shader = "copy", .code = shader_code("copy"), .specialization = {64},
//                         .bindings = {{0}, {1}}, .push_constants = {64}, .groups = {1, 1, 1}});
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "runtime/vulkan/device.h"
#include "runtime/vulkan/transfer.h"

namespace pocket {

// One binding: a range of buffer number `buffer`; bytes 0 means up to its end (and over the
// guard behind it, so that a shader's own .length() is no bound to test with).
struct ComputeBinding {
  uint32_t buffer = 0;
  uint64_t offset = 0, bytes = 0;
  uint32_t texel_words = 0;  // as in BufferRange
};

struct ComputeDispatch {
  std::string shader;
  std::span<const uint32_t> code;
  std::vector<uint32_t> specialization;
  std::vector<ComputeBinding> bindings;
  std::vector<uint32_t> push_constants;
  std::array<uint32_t, 3> groups = {1, 1, 1};
};

template <typename Container>
std::span<std::byte> host_bytes(Container& container) {
  return std::as_writable_bytes(std::span(container));
}

class ComputeContext {
 public:
  explicit ComputeContext(Device& device);
  Device& device() { return device_; }

  // Uploads every buffer, runs the dispatches in order with a barrier between any two, and reads
  // every buffer back into the same memory. Each buffer is followed by a guard on the device: a
  // write behind its end is Error(wrong_result) with the shader's name. Returns the nanoseconds of
  // the dispatches by the device's clock, 0 where it has none.
  uint64_t run(std::span<const std::span<std::byte>> buffers,
               std::span<const ComputeDispatch> dispatches);
  uint64_t run(std::span<const std::span<std::byte>> buffers, const ComputeDispatch& dispatch);

 private:
  Device& device_;
  Transfer transfer_;
  CommandPool pool_;
};

}  // namespace pocket
