#include "runtime/vulkan/memory.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "runtime/base/error.h"
#include "runtime/vulkan/device.h"
#include "runtime/vulkan/result.h"

namespace pocket {

struct MemoryBlock {
  VkDeviceMemory handle = VK_NULL_HANDLE;
  uint32_t type = 0;
  uint64_t bytes = 0;
  std::byte* mapped = nullptr;
  bool coherent = false, cached = false;
  bool imported = false;              // the host's memory, used by one allocation
  std::map<uint64_t, uint64_t> free;  // offset -> bytes, never adjacent

  bool empty() const { return free.size() == 1 && free.begin()->second == bytes; }
};

namespace {

constexpr uint64_t kSmallestBlock = 1ull << 20;
constexpr uint64_t kLargestSharedBlock = 64ull << 20;

uint64_t align_up(uint64_t value, uint64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

// First fit. Returns false when the block has no such gap.
bool take(MemoryBlock& block, uint64_t bytes, uint64_t alignment, uint64_t& offset) {
  for (auto gap = block.free.begin(); gap != block.free.end(); ++gap) {
    const uint64_t start = align_up(gap->first, alignment);
    const uint64_t end = gap->first + gap->second;
    if (start > end || end - start < bytes) continue;
    const uint64_t before = start - gap->first, after = end - start - bytes;
    const uint64_t gap_start = gap->first;
    block.free.erase(gap);
    if (before) block.free.emplace(gap_start, before);
    if (after) block.free.emplace(start + bytes, after);
    offset = start;
    return true;
  }
  return false;
}

void give_back(MemoryBlock& block, uint64_t offset, uint64_t bytes) {
  auto next = block.free.lower_bound(offset);
  if (next != block.free.end() && next->first == offset + bytes) {
    bytes += next->second;
    next = block.free.erase(next);
  }
  if (next != block.free.begin()) {
    auto previous = std::prev(next);
    if (previous->first + previous->second == offset) {
      previous->second += bytes;
      return;
    }
  }
  block.free.emplace(offset, bytes);
}

}  // namespace

const char* memory_use_name(MemoryUse use) {
  constexpr const char* kNames[kMemoryUses] = {"weights", "kv", "arena", "staging"};
  return kNames[static_cast<size_t>(use)];
}

Allocation::Allocation(Allocation&& other) noexcept { *this = std::move(other); }

Allocation& Allocation::operator=(Allocation&& other) noexcept {
  if (this != &other) {
    if (owner_) owner_->release(*this);
    owner_ = std::exchange(other.owner_, nullptr);
    block_ = std::exchange(other.block_, nullptr);
    offset_ = other.offset_;
    bytes_ = other.bytes_;
    use_ = other.use_;
  }
  return *this;
}

Allocation::~Allocation() {
  if (owner_) owner_->release(*this);
}

VkDeviceMemory Allocation::memory() const { return block_ ? block_->handle : VK_NULL_HANDLE; }
std::byte* Allocation::mapped() const {
  return block_ && block_->mapped ? block_->mapped + offset_ : nullptr;
}
bool Allocation::coherent() const { return block_ && block_->coherent; }
bool Allocation::cached() const { return block_ && block_->cached; }

Memory::Memory(Device& device) : device_(device) {
  vkGetPhysicalDeviceMemoryProperties(device.physical(), &properties_);
}

Memory::~Memory() {
  for (const auto& block : blocks_) {
    device_.table().vkFreeMemory(device_.handle(), block->handle, nullptr);
  }
}

uint32_t Memory::choose_type(uint32_t allowed, MemoryKind kind) const {
  constexpr VkMemoryPropertyFlags kLocal = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT;
  constexpr VkMemoryPropertyFlags kVisible = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT;
  constexpr VkMemoryPropertyFlags kCoherent = VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
  constexpr VkMemoryPropertyFlags kCached = VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
  // Best first; the specification guarantees one host-visible, coherent type and one local type.
  static constexpr VkMemoryPropertyFlags kWanted[3][3] = {
      {kLocal, 0, 0},
      {kVisible | kCoherent, kVisible, kVisible},
      {kVisible | kCached | kCoherent, kVisible | kCached, kVisible},
  };
  for (VkMemoryPropertyFlags wanted : kWanted[static_cast<size_t>(kind)]) {
    for (uint32_t i = 0; i < properties_.memoryTypeCount; ++i) {
      const VkMemoryPropertyFlags flags = properties_.memoryTypes[i].propertyFlags;
      const bool usable =
          (flags & (VK_MEMORY_PROPERTY_PROTECTED_BIT | VK_MEMORY_PROPERTY_LAZILY_ALLOCATED_BIT |
                    VK_MEMORY_PROPERTY_DEVICE_COHERENT_BIT_AMD)) == 0;
      if ((allowed >> i & 1) && usable && (flags & wanted) == wanted) return i;
    }
  }
  throw Error(ExitCode::device, "the device has no memory type that fits a storage buffer");
}

MemoryBlock& Memory::add_block(uint32_t type, uint64_t bytes, MemoryUse use) {
  const VolkDeviceTable& table = device_.table();
  auto block = std::make_unique<MemoryBlock>();
  VkMemoryAllocateInfo info{VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO};
  info.memoryTypeIndex = type;

  uint64_t held = 0;
  for (const auto& other : blocks_) {
    if (other->type == type && !other->imported) held += other->bytes;
  }
  // Small requests share a block that grows with what is held; a large one gets a block of its own
  // size, so that large models waste nothing.
  const uint64_t shared = std::clamp(held / 4, kSmallestBlock, kLargestSharedBlock);
  VkResult result = VK_ERROR_OUT_OF_DEVICE_MEMORY;
  for (const uint64_t size : {std::max(bytes, shared), bytes}) {
    info.allocationSize = size;
    result = table.vkAllocateMemory(device_.handle(), &info, nullptr, &block->handle);
    if (result == VK_SUCCESS || size == bytes) break;
  }
  if (result != VK_SUCCESS) {
    const uint32_t heap = properties_.memoryTypes[type].heapIndex;
    throw Error(ExitCode::out_of_memory,
                std::string("the device refused ") + std::to_string(bytes) + " bytes for the " +
                    memory_use_name(use) + " while " + std::to_string(block_bytes_) +
                    " bytes are held of a heap of " +
                    std::to_string(properties_.memoryHeaps[heap].size) + ": " +
                    result_text(result) + "; lower --context or --chunk or take a smaller model");
  }
  block->type = type;
  block->bytes = info.allocationSize;
  block->free.emplace(0, block->bytes);
  const VkMemoryPropertyFlags flags = properties_.memoryTypes[type].propertyFlags;
  block->coherent = flags & VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
  block->cached = flags & VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
  if (flags & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT) {
    void* pointer = nullptr;
    const VkResult mapped =
        table.vkMapMemory(device_.handle(), block->handle, 0, VK_WHOLE_SIZE, 0, &pointer);
    if (mapped != VK_SUCCESS) {
      table.vkFreeMemory(device_.handle(), block->handle, nullptr);
      check(mapped, "mapping device memory");
    }
    block->mapped = static_cast<std::byte*>(pointer);
  }
  blocks_.push_back(std::move(block));
  block_bytes_ += blocks_.back()->bytes;
  peak_block_bytes_ = std::max(peak_block_bytes_, block_bytes_);
  return *blocks_.back();
}

Allocation Memory::allocate(const VkMemoryRequirements& needs, MemoryKind kind, MemoryUse use) {
  const uint32_t type = choose_type(needs.memoryTypeBits, kind);
  // Ranges of one atom never belong to two allocations, so that a flush touches only its own.
  const uint64_t alignment = std::max(needs.alignment, device_.info().non_coherent_atom);
  const uint64_t bytes = align_up(needs.size, device_.info().non_coherent_atom);
  uint64_t limit = kMemoryBlockBytes;
  if (device_.info().max_allocation) limit = std::min(limit, device_.info().max_allocation);
  if (bytes > limit) {
    throw Error(ExitCode::out_of_memory,
                std::string("a buffer of the ") + memory_use_name(use) + " needs " +
                    std::to_string(bytes) + " bytes but one block of memory holds at most " +
                    std::to_string(limit) + "; lower --context or --chunk");
  }

  Allocation result;
  for (const auto& block : blocks_) {
    if (block->type == type && take(*block, bytes, alignment, result.offset_)) {
      result.block_ = block.get();
      break;
    }
  }
  if (!result.block_) {
    MemoryBlock& block = add_block(type, bytes, use);
    take(block, bytes, alignment, result.offset_);
    result.block_ = &block;
  }
  result.owner_ = this;
  result.bytes_ = bytes;
  result.use_ = use;
  MemoryUsage& usage = usage_[static_cast<size_t>(use)];
  usage.bytes += bytes;
  usage.peak = std::max(usage.peak, usage.bytes);
  return result;
}

std::optional<Allocation> Memory::import_host(std::span<const std::byte> bytes,
                                              uint32_t allowed_types, MemoryUse use) {
  const uint64_t alignment = device_.info().host_import_alignment;
  const VolkDeviceTable& table = device_.table();
  if (alignment == 0 || !device_.info().shares_host_memory || bytes.empty() ||
      reinterpret_cast<uintptr_t>(bytes.data()) % alignment != 0 || bytes.size() % alignment != 0 ||
      table.vkGetMemoryHostPointerPropertiesEXT == nullptr) {
    return std::nullopt;
  }
  // Kernels only read weights, and the file is mapped for reading.
  void* const pointer = const_cast<std::byte*>(bytes.data());
  constexpr auto kHandle = VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT;
  VkMemoryHostPointerPropertiesEXT taken{VK_STRUCTURE_TYPE_MEMORY_HOST_POINTER_PROPERTIES_EXT};
  if (table.vkGetMemoryHostPointerPropertiesEXT(device_.handle(), kHandle, pointer, &taken) !=
      VK_SUCCESS) {
    return std::nullopt;
  }
  const uint32_t types = taken.memoryTypeBits & allowed_types;
  for (uint32_t type = 0; type < properties_.memoryTypeCount; ++type) {
    const VkMemoryPropertyFlags flags = properties_.memoryTypes[type].propertyFlags;
    if ((types >> type & 1) == 0 || (flags & VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT) == 0) continue;
    VkImportMemoryHostPointerInfoEXT import{VK_STRUCTURE_TYPE_IMPORT_MEMORY_HOST_POINTER_INFO_EXT};
    import.handleType = kHandle;
    import.pHostPointer = pointer;
    VkMemoryAllocateInfo info{VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO};
    info.pNext = &import;
    info.allocationSize = bytes.size();
    info.memoryTypeIndex = type;
    auto block = std::make_unique<MemoryBlock>();
    if (table.vkAllocateMemory(device_.handle(), &info, nullptr, &block->handle) != VK_SUCCESS) {
      continue;
    }
    block->type = type;
    block->bytes = bytes.size();
    block->imported = true;
    Allocation result;
    result.owner_ = this;
    result.block_ = block.get();
    result.bytes_ = bytes.size();
    result.use_ = use;
    blocks_.push_back(std::move(block));
    imported_bytes_ += bytes.size();
    MemoryUsage& usage = usage_[static_cast<size_t>(use)];
    usage.bytes += bytes.size();
    usage.peak = std::max(usage.peak, usage.bytes);
    return result;
  }
  return std::nullopt;
}

void Memory::release(const Allocation& allocation) {
  usage_[static_cast<size_t>(allocation.use_)].bytes -= allocation.bytes_;
  MemoryBlock& block = *allocation.block_;
  if (block.imported) {
    device_.table().vkFreeMemory(device_.handle(), block.handle, nullptr);
    imported_bytes_ -= block.bytes;
    std::erase_if(blocks_, [&](const auto& other) { return other.get() == &block; });
    return;
  }
  give_back(block, allocation.offset_, allocation.bytes_);
  if (!block.empty()) return;
  // One empty block of a type is kept: test harnesses and chunks allocate the same again.
  const bool another = std::any_of(blocks_.begin(), blocks_.end(), [&](const auto& other) {
    return other.get() != &block && other->type == block.type && !other->imported && other->empty();
  });
  if (!another && block.bytes <= kLargestSharedBlock) return;
  device_.table().vkFreeMemory(device_.handle(), block.handle, nullptr);
  block_bytes_ -= block.bytes;
  std::erase_if(blocks_, [&](const auto& other) { return other.get() == &block; });
}

MemoryUsage Memory::usage(MemoryUse use) const { return usage_[static_cast<size_t>(use)]; }
uint64_t Memory::block_bytes() const { return block_bytes_; }
uint64_t Memory::peak_block_bytes() const { return peak_block_bytes_; }
uint64_t Memory::imported_bytes() const { return imported_bytes_; }
size_t Memory::block_count() const { return blocks_.size(); }

}  // namespace pocket
