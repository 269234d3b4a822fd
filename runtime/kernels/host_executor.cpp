#include "runtime/kernels/host_executor.h"

#include <algorithm>
#include <map>
#include <string>

#include "runtime/base/error.h"

namespace pocket {

struct HostExecutor::State {
  const Manifest& manifest;
  SectionBytes bytes;
  Options options;
  std::map<WeightId, WeightRows> weights;
  std::vector<std::vector<float>> states;  // by TensorId, empty for activations
  std::vector<int32_t> ids;                // the sequence so far

  const WeightRows& rows_of(WeightId id) {
    const auto found = weights.find(id);
    if (found != weights.end()) return found->second;
    const Weight& weight = manifest.weights.at(static_cast<size_t>(id));
    return weights
        .emplace(id, WeightRows(weight, join_sections(weight, SectionRole::codes, bytes),
                                join_sections(weight, SectionRole::scale, bytes)))
        .first->second;
  }

  // One step over `count` tokens that end the sequence; `target` tokens are asked for in all.
  // Appends their logits.
  void step(int64_t past, int64_t count, int64_t target, bool last_only,
            std::vector<float>& logits) {
    const Program& program = manifest.program;
    const int64_t rows = last_only ? 1 : count;
    HostState host = make_host_state(
        program, {{"tokens", count}, {"rows", rows}, {"context", options.context}, {"past", past}});
    host.record.past = static_cast<uint32_t>(past);
    host.record.tokens = static_cast<uint32_t>(count);
    host.record.target = static_cast<uint32_t>(target);
    host.record.head_row = static_cast<uint32_t>(count - rows);
    std::copy(ids.begin(), ids.end(), host.token_ids.begin());
    for (size_t i = 0; i < states.size(); ++i) {
      if (program.tensors[i].role == TensorRole::state) host.tensors[i].swap(states[i]);
    }
    const WeightLookup source = [this](WeightId id) -> const WeightRows& { return rows_of(id); };
    ReferenceOptions reference;
    reference.round_f16 = options.round_f16;
    for (int32_t op = 0; op < static_cast<int32_t>(program.operators.size()); ++op) {
      run_reference(manifest, source, op, host, reference);
    }
    for (size_t i = 0; i < states.size(); ++i) {
      if (program.tensors[i].role == TensorRole::state) host.tensors[i].swap(states[i]);
    }
    const auto& result = host.tensors.at(static_cast<size_t>(program.logits));
    logits.insert(logits.end(), result.begin(), result.end());
  }
};

HostExecutor::HostExecutor(const Manifest& manifest, SectionBytes bytes, const Options& options)
    : state_(std::make_unique<State>(State{manifest, std::move(bytes), options, {}, {}, {}})) {
  if (state_->options.context == 0) state_->options.context = manifest.program.default_context;
  if (state_->options.chunk < 1 || state_->options.context < 1) {
    throw Error(ExitCode::usage, "the host executor needs a chunk and a context of at least 1");
  }
  reset();
}

HostExecutor::HostExecutor(const Package& package, const Options& options)
    : HostExecutor(
          package.manifest(), [&package](const Section& s) { return package.section(s); },
          options) {}

HostExecutor::~HostExecutor() = default;

int64_t HostExecutor::vocab() const { return state_->manifest.program.vocab; }

int64_t HostExecutor::past() const { return static_cast<int64_t>(state_->ids.size()); }

void HostExecutor::reset() {
  HostState empty = make_host_state(
      state_->manifest.program,
      {{"tokens", 1}, {"rows", 1}, {"context", state_->options.context}, {"past", 0}});
  state_->states = std::move(empty.tensors);
  state_->ids.clear();
}

void HostExecutor::rewind(int64_t past) {
  if (past < 0 || past > this->past()) {
    throw Error(ExitCode::usage, "cannot rewind a sequence of " + std::to_string(this->past()) +
                                     " tokens to " + std::to_string(past) + "; rewind to less");
  }
  state_->ids.resize(static_cast<size_t>(past));
}

std::vector<float> HostExecutor::append(std::span<const int32_t> ids, bool last_only) {
  const auto count = static_cast<int64_t>(ids.size());
  if (past() + count > state_->options.context) {
    throw Error(ExitCode::usage, "the context holds " + std::to_string(state_->options.context) +
                                     " tokens and " + std::to_string(past() + count) +
                                     " are asked for; raise --context or shorten the input");
  }
  std::vector<float> logits;
  const int64_t target = past() + count;
  for (int64_t first = 0; first < count; first += state_->options.chunk) {
    const int64_t rows = std::min(state_->options.chunk, count - first);
    const int64_t before = past();
    state_->ids.insert(state_->ids.end(), ids.begin() + first, ids.begin() + first + rows);
    if (last_only) logits.clear();
    state_->step(before, rows, target, last_only, logits);
  }
  return logits;
}

}  // namespace pocket
