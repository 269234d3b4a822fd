// The first 64 bytes of a .pocket file (package.h), shared by the reader and the writer.
#pragma once

#include <xxhash.h>

#include <array>
#include <cstdint>
#include <cstring>

namespace pocket {

struct FileHeader {
  static constexpr size_t kBytes = 64;
  static constexpr char kMagic[8] = {'P', 'O', 'C', 'K', 'E', 'T', 'F', '\0'};
  char magic[8] = {'P', 'O', 'C', 'K', 'E', 'T', 'F', '\0'};
  uint32_t major = 0, minor = 0;
  uint64_t manifest_bytes = 0, file_bytes = 0, manifest_hash = 0;
  uint8_t zero[16] = {};
  uint64_t header_hash = 0;  // of the 56 bytes before

  uint64_t compute_hash() const { return XXH64(this, kBytes - sizeof header_hash, 0); }
};
static_assert(sizeof(FileHeader) == FileHeader::kBytes);

}  // namespace pocket
