// Float executor of the ir on the CPU: folds constants, calibrates, and is the oracle for every
// rewrite. Values are freed after their last reader. One run computes on the calling thread, so runs
// over several windows may stand side by side, and threads change no bit.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <vector>

#include "converter/reference/registry.h"

namespace pocket::reference {

using Feeds = std::map<ir::ValueId, HostTensor>;
// Sees every output of every node as soon as it is computed.
using Observer = std::function<void(const ir::Node&, ir::ValueId, const HostTensor&)>;

// Constants as floats, kept from one run over a graph to the next, as long as they fit in
// `most_bytes`: reading a weight in half precision costs as much as multiplying many rows by it. For
// a graph whose constants stay what they are meanwhile; safe from several threads.
class ConstantCache {
 public:
  explicit ConstantCache(int64_t most_bytes = int64_t{512} << 20) : left_(most_bytes) {}
  // Null when it does not fit any more.
  const HostTensor* find(ir::ValueId, const ir::TensorData&);

 private:
  std::mutex guard_;
  std::map<ir::ValueId, HostTensor> kept_;
  int64_t left_;  // bytes
};

struct RunOptions {
  const Registry* registry = nullptr;  // null: standard_registry()
  ConstantCache* constants = nullptr;  // may be null
  Observer observer;                   // may be empty
  std::vector<ir::ValueId> keep;       // returned besides what was asked for
  Bindings bindings;                   // symbols that the shapes of the feeds do not tell
};

// Values of the symbols in the input shapes, found from the shapes of the feeds. Throws
// Error(bad_input) when a feed contradicts its declared shape.
Bindings bind_symbols(const ir::Graph&, const Feeds&, Bindings known = {});

// Computes the graph's outputs. Throws Error(bad_input) when a feed is missing, an operator is
// unknown, or a node's inputs are impossible, naming the node.
std::map<ir::ValueId, HostTensor> run(const ir::Graph&, const Feeds&, const RunOptions& = {});

// Computes the values in `wanted` and nothing that they do not depend on. Any value may be fed, and
// then what stands before it is not computed.
std::map<ir::ValueId, HostTensor> evaluate(const ir::Graph&, const Feeds&,
                                           const std::vector<ir::ValueId>& wanted,
                                           const RunOptions& = {});

// Feeds of a decoder step: `tokens` ids behind `past` ones that are already in the states. Inputs
// are recognised by the canonical shapes that import gives them: ids and positions [1, tokens],
// the attention mask [1, past + tokens], states from `states` (zero length when empty).
Feeds decoder_feeds(const ir::Graph&, const std::vector<int64_t>& tokens,
                    const std::map<ir::ValueId, HostTensor>& states = {}, int64_t past = 0);

// Logits [tokens, vocabulary] of a decoder that starts with empty states.
HostTensor logits(const ir::Graph&, const std::vector<int64_t>& tokens, const RunOptions& = {});

}  // namespace pocket::reference
