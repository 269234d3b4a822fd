// Device memory in blocks of at most 256 MiB, sub-allocated first fit (single allocations near
// 1 GiB fail on Adreno). Statistics by use, for the report's "planned and peak".
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "runtime/vulkan/loader.h"

namespace pocket {

class Device;

enum class MemoryKind : uint8_t {
  device_local,  // fastest for shaders; host visible where the device shares its memory
  upload,        // host writes, device reads: staging, the step record
  readback,      // device writes, host reads: HOST_CACHED where there is such memory
};

enum class MemoryUse : uint8_t { weights, kv, arena, staging };
inline constexpr size_t kMemoryUses = 4;
const char* memory_use_name(MemoryUse);

struct MemoryUsage {
  uint64_t bytes = 0;  // allocated now, alignment included
  uint64_t peak = 0;   // largest `bytes` so far
};

inline constexpr uint64_t kMemoryBlockBytes = 256ull << 20;

struct MemoryBlock;

// A range of a block; freed on destruction. Move-only.
class Allocation {
 public:
  Allocation() = default;
  Allocation(Allocation&&) noexcept;
  Allocation& operator=(Allocation&&) noexcept;
  ~Allocation();

  VkDeviceMemory memory() const;
  uint64_t offset() const { return offset_; }
  uint64_t bytes() const { return bytes_; }
  std::byte* mapped() const;  // null when the host cannot see it; blocks stay mapped
  bool coherent() const;      // no flush or invalidate needed
  bool cached() const;        // host reads are fast

 private:
  friend class Memory;
  class Memory* owner_ = nullptr;
  MemoryBlock* block_ = nullptr;
  uint64_t offset_ = 0, bytes_ = 0;
  MemoryUse use_ = MemoryUse::arena;
};

class Memory {
 public:
  explicit Memory(Device&);
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  // Throws Error(out_of_memory): more than a block, or the device refuses (says the use, the bytes
  // asked for, the bytes held and the size of the heap).
  Allocation allocate(const VkMemoryRequirements&, MemoryKind, MemoryUse);

  // Host memory as device memory, without a copy: a block of its own. Only on devices whose local
  // memory is the host's; begin and size are multiples of DeviceInfo::host_import_alignment.
  // Nothing when the driver does not take it. The memory must outlive the allocation.
  std::optional<Allocation> import_host(std::span<const std::byte>, uint32_t allowed_types,
                                        MemoryUse);

  MemoryUsage usage(MemoryUse) const;
  uint64_t block_bytes() const;  // bytes of all blocks
  uint64_t peak_block_bytes() const;
  uint64_t imported_bytes() const;  // of the host's memory, in no block
  size_t block_count() const;

 private:
  friend class Allocation;
  void release(const Allocation&);
  uint32_t choose_type(uint32_t allowed, MemoryKind) const;
  MemoryBlock& add_block(uint32_t type, uint64_t bytes, MemoryUse);

  Device& device_;
  VkPhysicalDeviceMemoryProperties properties_{};
  std::vector<std::unique_ptr<MemoryBlock>> blocks_;
  std::array<MemoryUsage, kMemoryUses> usage_{};
  uint64_t block_bytes_ = 0, peak_block_bytes_ = 0, imported_bytes_ = 0;
};

}  // namespace pocket
