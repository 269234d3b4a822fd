#include "runtime/vulkan/pipeline_cache.h"

#include <elf.h>
#include <link.h>
#include <unistd.h>
#include <xxhash.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <vector>

#include "runtime/vulkan/device.h"
#include "runtime/vulkan/result.h"

namespace pocket {
namespace {

// Drivers are not to be trusted with damaged data, so the payload carries a hash of our own.
struct FileHeader {
  char magic[8] = {'P', 'O', 'C', 'K', 'E', 'T', 'P', 'C'};
  uint64_t identity = 0;  // device, driver and binary
  uint64_t bytes = 0;     // of the payload
  uint64_t hash = 0;      // XXH64 of the payload
};
static_assert(sizeof(FileHeader) == 32);
constexpr uint64_t kLargestCache = 256ull << 20;

// The build id that the linker wrote into the program: other shaders, other id.
std::vector<uint8_t> build_id() {
  std::vector<uint8_t> id;
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* out) {
        for (size_t i = 0; i < info->dlpi_phnum; ++i) {
          const auto& header = info->dlpi_phdr[i];
          if (header.p_type != PT_NOTE) continue;
          const auto* at = reinterpret_cast<const uint8_t*>(info->dlpi_addr + header.p_vaddr);
          const uint8_t* end = at + header.p_memsz;
          while (at + sizeof(ElfW(Nhdr)) <= end) {
            ElfW(Nhdr) note;
            std::memcpy(&note, at, sizeof(note));
            const uint8_t* name = at + sizeof(note);
            const uint8_t* value = name + (note.n_namesz + 3) / 4 * 4;
            if (note.n_type == NT_GNU_BUILD_ID && value + note.n_descsz <= end) {
              static_cast<std::vector<uint8_t>*>(out)->assign(value, value + note.n_descsz);
              return 1;
            }
            at = value + (note.n_descsz + 3) / 4 * 4;
          }
        }
        return 1;  // The first entry is the program itself.
      },
      &id);
  return id;
}

// Empty unless the file is whole and was written for `identity`.
std::vector<uint8_t> read_cache(const std::string& path, uint64_t identity) {
  std::ifstream file(path, std::ios::binary);
  FileHeader header;
  const FileHeader expected;
  if (!file.read(reinterpret_cast<char*>(&header), sizeof(header))) return {};
  if (std::memcmp(header.magic, expected.magic, sizeof(header.magic)) != 0 ||
      header.identity != identity || header.bytes > kLargestCache) {
    return {};
  }
  std::error_code error;
  if (std::filesystem::file_size(path, error) != sizeof(header) + header.bytes || error) return {};
  std::vector<uint8_t> data(header.bytes);
  if (!file.read(reinterpret_cast<char*>(data.data()), static_cast<std::streamsize>(data.size()))) {
    return {};
  }
  if (XXH64(data.data(), data.size(), 0) != header.hash) return {};
  return data;
}

}  // namespace

uint64_t cache_identity(const DeviceInfo& info) {
  std::vector<uint8_t> bytes = build_id();
  const auto append = [&](const void* data, size_t size) {
    const auto* first = static_cast<const uint8_t*>(data);
    bytes.insert(bytes.end(), first, first + size);
  };
  append(info.name.data(), info.name.size());
  append(info.driver.data(), info.driver.size());
  append(&info.vendor_id, sizeof(info.vendor_id));
  append(&info.device_id, sizeof(info.device_id));
  append(&info.driver_version, sizeof(info.driver_version));
  append(info.pipeline_cache_uuid, sizeof(info.pipeline_cache_uuid));
  return XXH64(bytes.data(), bytes.size(), 0);
}

std::string default_cache_folder() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  if (cache && *cache) return std::string(cache) + "/pocketformer";
  const char* home = std::getenv("HOME");
  if (home && *home) return std::string(home) + "/.cache/pocketformer";
  return {};
}

PipelineCache::PipelineCache(Device& device, const std::string& folder)
    : device_(device), identity_(cache_identity(device.info())) {
  const std::string chosen = folder.empty() ? default_cache_folder() : folder;
  std::vector<uint8_t> data;
  if (!chosen.empty() && chosen != "-") {
    char name[40];
    std::snprintf(name, sizeof(name), "pipelines-%016llx.bin",
                  static_cast<unsigned long long>(identity_));
    path_ = chosen + "/" + name;
    data = read_cache(path_, identity_);
  }
  VkPipelineCacheCreateInfo info{VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO};
  info.initialDataSize = data.size();
  info.pInitialData = data.data();
  const VolkDeviceTable& table = device.table();
  VkResult result = table.vkCreatePipelineCache(device.handle(), &info, nullptr, &handle_);
  loaded_ = result == VK_SUCCESS && !data.empty();
  if (result != VK_SUCCESS && !data.empty()) {
    info.initialDataSize = 0;
    result = table.vkCreatePipelineCache(device.handle(), &info, nullptr, &handle_);
  }
  check(result, "creating the pipeline cache");
}

PipelineCache::~PipelineCache() {
  if (handle_) device_.table().vkDestroyPipelineCache(device_.handle(), handle_, nullptr);
}

void PipelineCache::save() {
  if (path_.empty()) return;
  size_t size = 0;
  const VolkDeviceTable& table = device_.table();
  if (table.vkGetPipelineCacheData(device_.handle(), handle_, &size, nullptr) != VK_SUCCESS) return;
  std::vector<uint8_t> data(size);
  if (table.vkGetPipelineCacheData(device_.handle(), handle_, &size, data.data()) != VK_SUCCESS) {
    return;
  }
  data.resize(size);
  FileHeader header;
  header.identity = identity_;
  header.bytes = data.size();
  header.hash = XXH64(data.data(), data.size(), 0);

  // A reader sees the old file or the new one, never half of it.
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path_).parent_path(), error);
  const std::string temporary = path_ + "." + std::to_string(::getpid()) + ".tmp";
  {
    std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
    file.write(reinterpret_cast<const char*>(&header), sizeof(header));
    file.write(reinterpret_cast<const char*>(data.data()),
               static_cast<std::streamsize>(data.size()));
    file.flush();
    if (!file) {
      file.close();
      std::filesystem::remove(temporary, error);
      return;
    }
  }
  std::filesystem::rename(temporary, path_, error);
  if (error) std::filesystem::remove(temporary, error);
}

}  // namespace pocket
