#include "runtime/engine/loader.h"

#include <algorithm>
#include <cstring>

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

}  // namespace

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
  for (const BufferSpec& spec : plan.buffers) {
    buffers.emplace_back(device, spec.bytes, memory_kind(spec.kind), memory_use(spec.kind));
  }
  Transfer transfer(device, std::max<uint64_t>(plan.memory.staging, 4096));
  for (size_t i = 0; i < plan.buffers.size(); ++i) {
    const BufferSpec& spec = plan.buffers[i];
    const auto index = static_cast<size_t>(spec.index);
    switch (spec.kind) {
      case BufferKind::weights:
        if (options.verify_shards) package.verify_shard(index);
        write_in_pieces(transfer, buffers[i], package.shard(index));
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
