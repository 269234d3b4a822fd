#include "converter/verify_chunks.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "converter/reference/executor.h"
#include "runtime/base/error.h"

namespace pocket {
namespace {

constexpr double kTolerance = 1e-3;  // relative L2; sums in another order
constexpr int64_t kCalls[] = {5, 4, 1, 1, 1};

ir::ValueId logits_of(const ir::Graph& graph) {
  for (const ir::ValueId id : graph.outputs) {
    const bool state = std::any_of(graph.states.begin(), graph.states.end(),
                                   [id](const ir::StatePair& pair) { return pair.present == id; });
    if (!state) return id;
  }
  throw Error(ExitCode::bad_input,
              "The model has no output besides its states; export it for text generation.");
}

}  // namespace

void require_chunks_agree(const ir::Graph& graph) {
  const ir::ValueId logits = logits_of(graph);
  const int64_t vocab = graph.value(logits).shape->back().constant();
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < 12; ++i) ids.push_back((i * 7919 + 3) % vocab);
  const auto whole = reference::run(graph, reference::decoder_feeds(graph, ids)).at(logits);

  std::vector<float> parts;
  std::map<ir::ValueId, reference::HostTensor> states;
  int64_t past = 0;
  for (const int64_t count : kCalls) {
    const std::vector<int64_t> call(ids.begin() + past, ids.begin() + past + count);
    auto results = reference::run(graph, reference::decoder_feeds(graph, call, states, past));
    const std::vector<float>& rows = results.at(logits).f;
    parts.insert(parts.end(), rows.begin(), rows.end());
    for (const ir::StatePair& state : graph.states) {
      states[state.past] = std::move(results.at(state.present));
    }
    past += count;
  }
  double error = 0, size = 0;
  for (size_t i = 0; i < std::min(parts.size(), whole.f.size()); ++i) {
    error += std::pow(double{parts[i]} - double{whole.f[i]}, 2);
    size += std::pow(double{whole.f[i]}, 2);
  }
  const double distance = std::sqrt(error / std::max(size, 1e-30));
  if (parts.size() == whole.f.size() && distance <= kTolerance) return;
  char text[32];
  std::snprintf(text, sizeof text, "%.2g", distance);
  throw Error(ExitCode::bad_input,
              "The model computes other logits when a prompt is given in several calls (relative "
              "difference " +
                  std::string(text) + ", at most " + std::to_string(kTolerance).substr(0, 5) +
                  "): a part that was not recognised looks ahead or counts from the beginning of a "
                  "call, so it cannot be prefilled in chunks; export a causal decoder.");
}

}  // namespace pocket
