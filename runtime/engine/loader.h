// Device buffers of a plan, filled from the package shard by shard.
#pragma once

#include <vector>

#include "runtime/engine/engine_plan.h"
#include "runtime/package/package.h"
#include "runtime/vulkan/buffer.h"
#include "runtime/vulkan/device.h"

namespace pocket {

// Throws Error(out_of_memory) with the sums, before anything is allocated, when the plan exceeds
// `available` bytes or a single buffer exceeds what one memory block holds.
void check_memory(const EnginePlan&, uint64_t available);

// Bytes that may be planned: the device's heap, and where that is the host's memory, what the host
// has to spare (Linux: MemAvailable).
uint64_t available_memory(const DeviceInfo&);

// Allocates every buffer of the plan, then uploads weights and rotary tables. Shards are hashed.
// Where the device takes the mapped file as its memory they stay there; else they are copied in
// pieces of at most 16 MiB (straight into device memory where the host sees it). Either way the
// pages of each shard are dropped, so that the file never sits in memory beside its copy.
// Throws Error(bad_input) for a damaged shard, Error(out_of_memory), Error(device).
std::vector<Buffer> load_buffers(Device&, const Package&, const EnginePlan&, const EngineOptions&);

}  // namespace pocket
