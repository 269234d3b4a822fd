// The engine as its callers see it: one sequence of tokens, evaluated by recorded command buffers.
//
// The engine holds a sequence: tokens 0 .. length()-1, of which the first position() are in the KV
// states. prefill() appends given tokens and lets the device choose the next one; decode() delivers
// chosen tokens and appends them. After load nothing is allocated and nothing recorded per step
// (DESIGN, principle 2); segments of a kind that was not used before (logits of all rows, another
// sampler) are recorded on their first use, never between two steps.
//
// Errors: Error(usage) when the context would overflow or an argument is out of range,
// Error(out_of_memory) when the planned memory does not fit, Error(device) for everything that
// Vulkan reports. After Error(device) the engine can only be destroyed.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/engine/memory_sums.h"
#include "runtime/engine/options.h"
#include "runtime/engine/statistics.h"
#include "runtime/engine/stream.h"
#include "runtime/package/package.h"
#include "runtime/vulkan/device.h"

namespace pocket {

enum class StopReason : uint8_t {
  length,     // the asked number of tokens was delivered
  stop_id,    // the device chose a stop id; it was neither delivered nor appended
  cancelled,  // the callback returned false
};

struct DecodeResult {
  int64_t tokens = 0;  // delivered to the callback and appended to the sequence
  StopReason reason = StopReason::length;
  int32_t stop_id = -1;
};

// A kernel configuration in use: for reports.
struct ConfigUse {
  Phase phase = Phase::decode;
  std::string shader, config;
  uint32_t dispatches = 0;  // per step or chunk
};

// Submissions of one decode step or of one chunk with head and sampler, by the times measured at
// load; all zero without EngineOptions::max_submit_ms.
struct SubmissionTimes {
  uint32_t submissions = 0;
  uint32_t over = 0;  // longer than the limit: a single segment that takes so long
  double longest_ms = 0;
};

class Engine {
 public:
  // Loads the package: plans, says the memory by kind, refuses what does not fit, uploads the
  // weights and records the segments of decode and prefill. The device must outlive the engine.
  Engine(Device& device, Package package, EngineOptions options = {});
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // --- the sequence -----------------------------------------------------------------------------
  int64_t context() const;   // rows of the KV states
  int64_t chunk() const;     // rows of a prefill chunk, after lowering
  int64_t position() const;  // tokens in the KV states
  int64_t length() const;    // tokens in the sequence
  std::span<const int32_t> sequence() const;
  // How many more tokens decode() can deliver. The last slot of the context can be used: the token
  // chosen from it is delivered but can no longer be evaluated.
  int64_t room() const;

  void reset();                 // an empty sequence
  void rewind(int64_t length);  // keeps the first `length` tokens, 0 <= length <= length()
  void set_sampling(const SamplerSettings&);

  // --- generation -------------------------------------------------------------------------------
  // Appends the tokens, evaluates what is not evaluated yet in chunks, and chooses the next token
  // on the device; returns when it is chosen. The token is delivered by the next decode().
  void prefill(std::span<const int32_t> tokens);

  // Delivers up to n tokens in order with `queued_steps` steps queued ahead. After a stop id or a
  // false from the callback the surplus steps are discarded: the KV states count as filled up to
  // position() only, and the next turn equals a fresh run. Needs a non-empty sequence.
  // `on_token` is called between submissions and must not call the engine.
  DecodeResult decode(int64_t n, const std::function<bool(int32_t token)>& on_token,
                      std::span<const int32_t> stop_ids = {});

  // --- logits -----------------------------------------------------------------------------------
  // Evaluates `tokens` as a fresh sequence and hands out every row of logits in order: rows below
  // `decode_from` by prefill chunks with the head in row tiles, the others one token at a time on
  // the decode path. `decode_from` < 0: all by prefill. Leaves the sequence evaluated.
  void score(std::span<const int32_t> tokens, int64_t decode_from,
             const std::function<void(int64_t row, std::span<const float> logits)>& on_row);
  // The same, row-major [tokens, vocab].
  std::vector<float> logits(std::span<const int32_t> tokens, int64_t decode_from = -1);
  // Logits of the last step that ran, as they lie on the device, and their XXH64 for reports.
  std::vector<float> last_logits();
  uint64_t last_logits_hash();

  // --- what it is and what it did ---------------------------------------------------------------
  const Package& package() const;
  const Manifest& manifest() const;
  const MemorySums& planned_memory() const;
  uint64_t allocated_bytes() const;  // device memory held, sub-allocation losses included
  const std::vector<std::string>& messages() const;  // what was said while loading

  const Statistics& statistics() const;
  void clear_statistics();
  StepCost step_cost(Phase) const;  // of one decode step; of one chunk with head and sampler
  std::vector<ConfigUse> config_uses() const;
  SubmissionTimes submission_times(Phase) const;

  // Everything submitted and every host access to shared buffers since the last call, as the
  // checker (checker.h) reads it. Only with EngineOptions::log_stream.
  std::vector<StreamEvent> take_stream();
  std::vector<std::string> segment_labels(Phase) const;
  int32_t barrier_count(Phase, const std::string& segment) const;  // the beginning one included

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pocket
