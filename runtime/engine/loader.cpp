#include "runtime/engine/loader.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <string>

#include "runtime/base/error.h"
#include "runtime/engine/rope.h"
#include "runtime/vulkan/memory.h"
#include "runtime/vulkan/transfer.h"

namespace pocket {
namespace {

constexpr size_t kPieceBytes = 16 << 20;

MemoryKind memory_kind(BufferKind kind) {
  switch (kind) {
    case BufferKind::record:
    case BufferKind::token_ids:
      return MemoryKind::upload;
    case BufferKind::ring:
    case BufferKind::readback:
      return MemoryKind::readback;
    default:
      return MemoryKind::device_local;
  }
}

MemoryUse memory_use(BufferKind kind) {
  switch (kind) {
    case BufferKind::weights:
    case BufferKind::rope:
      return MemoryUse::weights;
    case BufferKind::state:
      return MemoryUse::kv;
    case BufferKind::arena:
    case BufferKind::scratch:
      return MemoryUse::arena;
    default:
      return MemoryUse::staging;
  }
}

void write_in_pieces(Transfer& transfer, const Buffer& buffer, std::span<const std::byte> bytes) {
  for (size_t offset = 0; offset < bytes.size(); offset += kPieceBytes) {
    transfer.write(buffer, offset,
                   bytes.subspan(offset, std::min(kPieceBytes, bytes.size() - offset)));
  }
}

Buffer import_shard(Device& device, const Package& package, size_t index) {
  const uint64_t alignment = device.info().host_import_alignment;
  if (alignment == 0 || !device.info().shares_host_memory) return {};
  return Buffer::import_host(device, package.shard_pages(index, alignment), MemoryUse::weights);
}

}  // namespace

uint64_t available_memory(const DeviceInfo& info) {
  if (!info.shares_host_memory) return info.device_heap_bytes;
  std::ifstream file("/proc/meminfo");
  std::string key;
  uint64_t kibibytes = 0;
  while (file >> key >> kibibytes) {
    if (key == "MemAvailable:") return std::min(info.device_heap_bytes, kibibytes * 1024);
    file.ignore(80, '\n');
  }
  return info.device_heap_bytes;
}

void check_memory(const EnginePlan& plan, uint64_t available) {
  require_fit(plan.memory, available);
  for (const BufferSpec& buffer : plan.buffers) {
    if (buffer.bytes <= kMemoryBlockBytes) continue;
    throw Error(ExitCode::out_of_memory,
                "The " + buffer.name + " needs " + std::to_string(buffer.bytes) +
                    " bytes in one piece but a memory block holds " +
                    std::to_string(kMemoryBlockBytes) + "; use a smaller --context or --chunk.");
  }
}

std::vector<Buffer> load_buffers(Device& device, const Package& package, const EnginePlan& plan,
                                 const EngineOptions& options) {
  std::vector<Buffer> buffers;
  buffers.reserve(plan.buffers.size());
  std::vector<bool> imported(plan.buffers.size(), false);
  for (const BufferSpec& spec : plan.buffers) {
    if (spec.kind == BufferKind::weights && options.import_weights) {
      Buffer buffer = import_shard(device, package, static_cast<size_t>(spec.index));
      if (buffer) {
        imported[buffers.size()] = true;
        buffers.push_back(std::move(buffer));
        continue;
      }
    }
    buffers.emplace_back(device, spec.bytes, memory_kind(spec.kind), memory_use(spec.kind));
  }
  Transfer transfer(device, std::max<uint64_t>(plan.memory.staging, 4096));
  for (size_t i = 0; i < plan.buffers.size(); ++i) {
    const BufferSpec& spec = plan.buffers[i];
    const auto index = static_cast<size_t>(spec.index);
    switch (spec.kind) {
      case BufferKind::weights:
        if (options.verify_shards) package.verify_shard(index);
        if (!imported[i]) write_in_pieces(transfer, buffers[i], package.shard(index));
        package.drop_pages(index);
        break;
      case BufferKind::rope: {
        const std::vector<float> table = compute_rope_table(
            package.manifest().program.rope_tables[index], plan.context, &package);
        write_in_pieces(transfer, buffers[i], std::as_bytes(std::span(table)));
        break;
      }
      case BufferKind::parameters:
        write_in_pieces(transfer, buffers[i], std::as_bytes(std::span(plan.parameters)));
        break;
      case BufferKind::state:
      case BufferKind::arena:
      case BufferKind::scratch:
        if (options.poison) transfer.fill(buffers[i], 0, buffers[i].bytes(), kPoison);
        break;
      default:
        break;
    }
  }
  return buffers;
}

}  // namespace pocket
