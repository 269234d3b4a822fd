// Runs a whole program on the host: the body and the head, KV states, prompts in chunks or token
// by token. The oracle of the engine and of `llmconvert --verify`. No Vulkan, and slow on purpose.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "runtime/kernels/reference.h"

namespace pocket {

class HostExecutor {
 public:
  struct Options {
    int64_t context = 0;    // capacity of the states; 0: the program's default
    int64_t chunk = 64;     // rows of a step at most
    bool round_f16 = true;  // store f16 tensors and states as the device would
  };
  // The manifest and the bytes must outlive the executor. Weights are joined at first use.
  HostExecutor(const Manifest&, SectionBytes, const Options&);
  HostExecutor(const Package&, const Options&);
  ~HostExecutor();

  int64_t vocab() const;
  int64_t past() const;  // tokens in the states
  void reset();          // an empty sequence
  void rewind(int64_t past);

  // Appends the ids and returns their logits, [ids.size(), vocab], or only the last row. Throws
  // Error(usage) when the context overflows, Error(bad_input) for an id outside of the vocabulary.
  std::vector<float> append(std::span<const int32_t> ids, bool last_only = false);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pocket
