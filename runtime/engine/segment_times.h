// How long each recorded segment takes on this device, by the host's clock from submission to
// fence.
#pragma once

#include <vector>

#include "runtime/engine/control.h"
#include "runtime/engine/recorder.h"
#include "runtime/engine/steps.h"

namespace pocket {

// Runs the segments of prefill chunks and decode steps one by one as the step that fills the last
// slots of the context, which is the longest one, several times after a warm-up. By segment of the
// plan: the median in nanoseconds, 0 for segments that are not recorded. Writes the KV states,
// token ids and records, so it comes before any sequence.
std::vector<double> measure_segments(Device&, const EnginePlan&, const Recorder&, const Steps&,
                                     Control&, bool stochastic, const StepRecord& settings);

}  // namespace pocket
