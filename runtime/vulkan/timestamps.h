// Timestamp queries in nanoseconds.
#pragma once

#include <cstdint>
#include <span>

#include "runtime/vulkan/command.h"

namespace pocket {

class Timestamps {
 public:
  Timestamps(Device&, uint32_t count);
  Timestamps(Timestamps&&) noexcept;
  Timestamps& operator=(Timestamps&&) = delete;
  ~Timestamps();

  bool available() const { return bits_ != 0; }  // else the calls below do nothing
  void record_reset(CommandBuffer&);             // before the first write of a submission
  void record(CommandBuffer&, uint32_t index);   // when everything before it has finished
  // Nanoseconds since the first entry, after the submission finished; wraps handled once.
  void read(std::span<uint64_t> nanoseconds) const;

 private:
  Device* device_;
  VkQueryPool handle_ = VK_NULL_HANDLE;
  uint32_t count_ = 0, bits_ = 0;
  double period_ = 1.0;
};

}  // namespace pocket
