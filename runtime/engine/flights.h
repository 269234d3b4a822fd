// Steps in flight: one fence each, and the time that the host spent waiting for them.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/engine/steps.h"
#include "runtime/engine/stream_log.h"
#include "runtime/vulkan/device.h"
#include "runtime/vulkan/sync.h"

namespace pocket {

class Flights {
 public:
  Flights(Device&, StreamLog&, int32_t count);
  ~Flights();  // waits for what is pending
  Flights(const Flights&) = delete;
  Flights& operator=(const Flights&) = delete;

  int32_t count() const { return static_cast<int32_t>(flights_.size()); }
  // Waits first if this flight is still pending, so that a pending command buffer is never
  // submitted again. Returns the number of vkQueueSubmit.
  uint64_t submit(int32_t flight, const PreparedStep&, uint32_t step);
  void wait(int32_t flight);  // returns at once when nothing is pending in it
  void drain();               // waits for all
  uint64_t wait_ns() const { return wait_ns_; }

 private:
  struct Flight {
    Fence fence;
    bool pending = false;
    int32_t submission = 0;  // log number after its last submission
  };
  Device& device_;
  StreamLog& log_;
  std::vector<Flight> flights_;
  uint64_t wait_ns_ = 0;
};

}  // namespace pocket
