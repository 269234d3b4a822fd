#include "runtime/vulkan/transfer.h"

#include <algorithm>
#include <cstring>

#include "runtime/base/error.h"
#include "runtime/vulkan/device.h"

namespace pocket {
namespace {

void check_range(const Buffer& buffer, uint64_t offset, uint64_t bytes) {
  if (offset > buffer.bytes() || bytes > buffer.bytes() - offset) {
    throw Error(ExitCode::device, "a transfer of " + std::to_string(bytes) + " bytes at offset " +
                                      std::to_string(offset) + " leaves a buffer of " +
                                      std::to_string(buffer.bytes()) + " bytes");
  }
}

}  // namespace

Transfer::Transfer(Device& device, uint64_t staging_bytes, TransferPath path)
    : device_(device),
      staging_bytes_(std::max<uint64_t>(256, staging_bytes / 16 * 16)),
      path_(path),
      pool_(device),
      commands_(pool_.allocate()),
      fence_(device) {}

void Transfer::begin() {
  commands_.begin(true);
  commands_.barrier(scope::shader | scope::copy, scope::copy);
}

void Transfer::run() {
  commands_.barrier(scope::copy_write | scope::shader_write,
                    scope::shader | scope::copy | scope::host_read);
  commands_.end();
  const VkCommandBuffer handle = commands_.handle();
  fence_.reset();
  device_.queue().submit({.commands = {&handle, 1}, .label = "transfer", .fence = &fence_});
  try {
    fence_.wait();
  } catch (...) {
    // The caller may free the buffers next; the device must not still be copying into them.
    device_.table().vkQueueWaitIdle(device_.queue().handle());
    throw;
  }
}

void Transfer::write(const Buffer& buffer, uint64_t offset, std::span<const std::byte> bytes) {
  check_range(buffer, offset, bytes.size());
  if (bytes.empty()) return;
  if (path_ == TransferPath::direct_where_mapped && !buffer.mapped().empty()) {
    std::memcpy(buffer.mapped().data() + offset, bytes.data(), bytes.size());
    buffer.flush(offset, bytes.size());
    return;
  }
  if (!upload_) upload_ = Buffer(device_, staging_bytes_, MemoryKind::upload, MemoryUse::staging);
  for (uint64_t done = 0; done < bytes.size();) {
    const uint64_t part = std::min<uint64_t>(staging_bytes_, bytes.size() - done);
    std::memcpy(upload_.mapped().data(), bytes.data() + done, part);
    upload_.flush(0, part);
    begin();
    commands_.copy(upload_, 0, buffer, offset + done, part);
    run();
    done += part;
  }
}

void Transfer::fill(const Buffer& buffer, uint64_t offset, uint64_t bytes, uint32_t word) {
  check_range(buffer, offset, bytes);
  if (offset % 4 != 0 || bytes % 4 != 0) {
    throw Error(ExitCode::device, "a fill of " + std::to_string(bytes) + " bytes at offset " +
                                      std::to_string(offset) + " is not in words of 4 bytes");
  }
  if (bytes == 0) return;
  begin();
  commands_.fill(buffer, offset, bytes, word);
  run();
}

void Transfer::read(const Buffer& buffer, uint64_t offset, std::span<std::byte> bytes) {
  check_range(buffer, offset, bytes.size());
  if (bytes.empty()) return;
  // Uncached memory is read many times slower by the host than by a copy on the device.
  if (path_ == TransferPath::direct_where_mapped && buffer.host_cached() &&
      !buffer.mapped().empty()) {
    begin();
    run();
    buffer.invalidate(offset, bytes.size());
    std::memcpy(bytes.data(), buffer.mapped().data() + offset, bytes.size());
    return;
  }
  if (!readback_) {
    readback_ = Buffer(device_, staging_bytes_, MemoryKind::readback, MemoryUse::staging);
  }
  for (uint64_t done = 0; done < bytes.size();) {
    const uint64_t part = std::min<uint64_t>(staging_bytes_, bytes.size() - done);
    begin();
    commands_.copy(buffer, offset + done, readback_, 0, part);
    run();
    readback_.invalidate(0, part);
    std::memcpy(bytes.data() + done, readback_.mapped().data(), part);
    done += part;
  }
}

}  // namespace pocket
