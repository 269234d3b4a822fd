// Everything the engine will allocate and record, as data: sizes, buffers, segments with resolved
// ranges and barriers. Pure: `llmbench inspect` and the tests use it without a device.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/engine/memory_sums.h"
#include "runtime/engine/options.h"
#include "runtime/engine/statistics.h"
#include "runtime/engine/stream.h"
#include "runtime/package/package.h"
#include "runtime/vulkan/limits.h"

namespace pocket {

inline constexpr uint32_t kPoison = 0xFFFFFFFF;  // NaN as f32, NaN as two f16, -1 as a token

enum class BufferKind : uint8_t {
  weights,     // index: shard
  rope,        // index: rope table
  state,       // index: tensor
  arena,       // index: slot
  scratch,     // index: slot
  record,      // index: slot; host writes
  token_ids,   // host writes
  ring,        // host reads
  readback,    // host reads
  parameters,  // blocks of generic operators, EnginePlan::parameters
};

struct BufferSpec {
  BufferKind kind = BufferKind::weights;
  int32_t index = 0;
  uint64_t bytes = 0;
  std::string name;
};

// One in-flight activation arena plus its step record.
struct SlotPlan {
  Phase phase = Phase::decode;
  int64_t tokens = 1;  // rows of the body
  int64_t rows = 1;    // most rows of the head
  EvaluatedPlan memory;
  int32_t arena = kNone, scratch = kNone, record = kNone;  // indices of EnginePlan::buffers
};

enum class SegmentRole : uint8_t {
  body,
  head,        // one row
  head_tile,   // SlotPlan::rows rows: logits of all rows
  greedy,      // sampler
  stochastic,  // sampler
  advance,     // end of a chunk that samples nothing
  readback,    // logits to the host
};

// The unit of recording.
struct SegmentPlan {
  Phase phase = Phase::decode;  // also the slot: one per phase
  SegmentRole role = SegmentRole::body;
  int32_t width = 0;   // precision width; the only one so far
  int32_t copies = 1;  // command buffers, so that a pending one is never resubmitted
  std::string label;
  std::vector<Dispatch> dispatches;
  std::vector<std::vector<Touch>> bindings;  // by dispatch: what its operands resolve to
  Touch copy_from, copy_to;                  // readback only
  // poison_freed: behind the first .first dispatches tensor .second becomes NaN.
  std::vector<std::pair<size_t, TensorId>> freed;
  // Commands in order: work events are the dispatches (or the copy) in order, and barriers.
  std::vector<StreamEvent> stream;
  StepCost cost;
};

struct EnginePlan {
  int64_t context = 0, chunk = 0;
  uint32_t ring_size = 64;
  std::array<SlotPlan, 2> slots;  // by Phase
  std::vector<BufferSpec> buffers;
  std::vector<SegmentPlan> segments;
  std::vector<uint32_t> parameters;  // blocks of all dispatches, equal ones once
  MemorySums memory;
  std::vector<std::string> messages;  // one sentence each: what was lowered and why

  const SlotPlan& slot(Phase phase) const { return slots[static_cast<size_t>(phase)]; }
  int32_t buffer(BufferKind kind, int32_t index = 0) const;
  std::vector<int32_t> find(Phase phase, SegmentRole role) const;  // segments in order
};

// Throws Error(usage) for options outside the program's ranges, Error(device) when an operator has
// no kernel within the limits.
EnginePlan plan_engine(const Manifest&, const DeviceLimits&, const EngineOptions&);

}  // namespace pocket
