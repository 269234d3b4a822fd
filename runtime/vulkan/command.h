// Command pool and primary command buffers for recorded-once, submitted-often work.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "runtime/vulkan/buffer.h"
#include "runtime/vulkan/pipeline.h"

namespace pocket {

// Ends of a barrier: which accesses must be finished, which may follow.
struct Scope {
  VkPipelineStageFlags stages = 0;
  VkAccessFlags accesses = 0;
};
Scope operator|(const Scope&, const Scope&);

namespace scope {
inline constexpr Scope shader_read = {VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT,
                                      VK_ACCESS_SHADER_READ_BIT};
inline constexpr Scope shader_write = {VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT,
                                       VK_ACCESS_SHADER_WRITE_BIT};
inline constexpr Scope shader = {VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT,
                                 VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT};
inline constexpr Scope copy_read = {VK_PIPELINE_STAGE_TRANSFER_BIT, VK_ACCESS_TRANSFER_READ_BIT};
inline constexpr Scope copy_write = {VK_PIPELINE_STAGE_TRANSFER_BIT, VK_ACCESS_TRANSFER_WRITE_BIT};
inline constexpr Scope copy = {VK_PIPELINE_STAGE_TRANSFER_BIT,
                               VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_TRANSFER_WRITE_BIT};
inline constexpr Scope host_read = {VK_PIPELINE_STAGE_HOST_BIT, VK_ACCESS_HOST_READ_BIT};
}  // namespace scope

class CommandBuffer {
 public:
  CommandBuffer() = default;
  VkCommandBuffer handle() const { return handle_; }

  // `once`: recorded for a single submission, else it may be submitted again after it finished.
  void begin(bool once = false);
  void end();

  void bind(const Pipeline&, VkDescriptorSet);
  void push(const Pipeline&, std::span<const uint32_t> words);
  void dispatch(const std::array<uint32_t, 3>& groups);
  void copy(const Buffer& from, uint64_t from_offset, const Buffer& to, uint64_t to_offset,
            uint64_t bytes);
  void fill(const Buffer&, uint64_t offset, uint64_t bytes, uint32_t word);
  void barrier(const Scope& before, const Scope& after);  // a global memory barrier
  void barrier(const BufferRange&, const Scope& before, const Scope& after);

 private:
  friend class CommandPool;
  CommandBuffer(Device* device, VkCommandBuffer handle) : device_(device), handle_(handle) {}
  Device* device_ = nullptr;
  VkCommandBuffer handle_ = VK_NULL_HANDLE;  // owned by the pool
};

class CommandPool {
 public:
  explicit CommandPool(Device&);
  CommandPool(CommandPool&&) noexcept;
  CommandPool& operator=(CommandPool&&) = delete;
  ~CommandPool();  // frees its command buffers

  CommandBuffer allocate();
  void free(CommandBuffer&);

 private:
  Device* device_;
  VkCommandPool handle_ = VK_NULL_HANDLE;
};

}  // namespace pocket
