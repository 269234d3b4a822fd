// Runs planned dispatches on a device over the data of a HostState, so that a test or the self-test
// can lay the result beside the reference's. Not the decode path: it uploads and waits.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "runtime/kernels/plan.h"
#include "runtime/kernels/reference.h"
#include "runtime/vulkan/compute_context.h"

namespace pocket {

class DispatchRunner {
 public:
  using SectionBytes = std::function<std::span<const std::byte>(const Section&)>;

  DispatchRunner(ComputeContext& context, const Manifest& manifest, SectionBytes bytes)
      : context_(context), manifest_(manifest), bytes_(std::move(bytes)) {}

  // Runs them in order with barriers between. Tensors, the record and token_ids of `state` are
  // uploaded and, where written, read back; `ring` (not empty) likewise. Throws Error(wrong_result)
  // when a kernel writes behind a buffer. Returns nanoseconds on the device, 0 if unknown.
  uint64_t run(std::span<const Dispatch> dispatches, HostState& state, std::vector<int32_t>& ring);

 private:
  ComputeContext& context_;
  const Manifest& manifest_;
  SectionBytes bytes_;
};

}  // namespace pocket
