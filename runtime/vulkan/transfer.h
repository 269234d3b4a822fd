// Bytes between host and device through one bounded staging buffer, whatever memory the target
// lies in. For loading and reading back, not for the decode loop.
#pragma once

#include <cstddef>
#include <span>

#include "runtime/vulkan/buffer.h"
#include "runtime/vulkan/command.h"
#include "runtime/vulkan/sync.h"

namespace pocket {

enum class TransferPath : uint8_t {
  direct_where_mapped,  // host-visible buffers are read and written in place
  always_staged,
};

class Transfer {
 public:
  explicit Transfer(Device&, uint64_t staging_bytes = 16ull << 20,
                    TransferPath path = TransferPath::direct_where_mapped);

  // Returns when the bytes are on the device. Nothing that uses the range may be pending.
  void write(const Buffer&, uint64_t offset, std::span<const std::byte> bytes);
  void fill(const Buffer&, uint64_t offset, uint64_t bytes, uint32_t word);
  // Waits for everything submitted to the queue before.
  void read(const Buffer&, uint64_t offset, std::span<std::byte> bytes);

 private:
  void begin();
  void run();  // submits commands_ and waits
  Device& device_;
  uint64_t staging_bytes_;
  TransferPath path_;
  Buffer upload_, readback_;  // made at first use
  CommandPool pool_;
  CommandBuffer commands_;
  Fence fence_;
};

}  // namespace pocket
