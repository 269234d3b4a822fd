#include "runtime/engine/segment_times.h"

#include <algorithm>
#include <chrono>

#include "runtime/vulkan/sync.h"

namespace pocket {
namespace {

constexpr int kRounds = 3;  // after one that compiles and warms up

double run_alone(Device& device, VkCommandBuffer commands, const char* label, Fence& fence) {
  fence.reset();
  const auto begin = std::chrono::steady_clock::now();
  device.queue().submit({.commands = {&commands, 1}, .label = label, .fence = &fence});
  fence.wait();
  const auto end = std::chrono::steady_clock::now();
  return static_cast<double>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(end - begin).count());
}

// The step that fills the last `tokens` slots.
StepRecord last_step(const EnginePlan& plan, StepRecord record, int64_t tokens) {
  record.past = static_cast<uint32_t>(plan.context - tokens);
  record.tokens = record.chunk = static_cast<uint32_t>(tokens);
  record.target = static_cast<uint32_t>(plan.context);
  record.head_row = static_cast<uint32_t>(tokens - 1);
  return record;
}

}  // namespace

std::vector<double> measure_segments(Device& device, const EnginePlan& plan,
                                     const Recorder& recorder, const Steps& steps, Control& control,
                                     bool stochastic, const StepRecord& settings) {
  const std::vector<int32_t> ids(static_cast<size_t>(plan.context), 0);
  control.write_tokens(0, ids);
  Fence fence(device);
  std::vector<double> medians(plan.segments.size(), 0);
  for (const StepKind kind : {StepKind::last_chunk, StepKind::chunk, StepKind::token}) {
    const Phase phase = kind == StepKind::token ? Phase::decode : Phase::prefill;
    const SegmentList list = steps.segments(kind, stochastic);
    std::vector<std::vector<double>> times(list.size());
    for (int round = -1; round < kRounds; ++round) {
      control.write_record(phase, last_step(plan, settings, plan.slot(phase).tokens));
      for (size_t i = 0; i < list.size(); ++i) {
        const char* label = plan.segments[static_cast<size_t>(list[i])].label.c_str();
        const double time = run_alone(device, recorder.commands(list[i], 0), label, fence);
        if (round >= 0) times[i].push_back(time);
      }
    }
    for (size_t i = 0; i < list.size(); ++i) {
      std::sort(times[i].begin(), times[i].end());
      medians[static_cast<size_t>(list[i])] = times[i][times[i].size() / 2];
    }
  }
  return medians;
}

}  // namespace pocket
