// VkPipelineCache on disk: one file per device, driver and binary, written atomically. A file that
// is damaged or belongs to another device is ignored.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/vulkan/loader.h"

namespace pocket {

class Device;
struct DeviceInfo;

// $XDG_CACHE_HOME/pocketformer or $HOME/.cache/pocketformer; empty when neither is set.
std::string default_cache_folder();

// Of device, driver and this program (the linker's build id).
uint64_t cache_identity(const DeviceInfo&);

class PipelineCache {
 public:
  // `folder` empty: the default folder; "-": nothing on disk.
  PipelineCache(Device&, const std::string& folder);
  ~PipelineCache();
  PipelineCache(const PipelineCache&) = delete;

  VkPipelineCache handle() const { return handle_; }
  bool loaded() const { return loaded_; }
  const std::string& path() const { return path_; }
  void save();  // best effort

 private:
  Device& device_;
  uint64_t identity_ = 0;  // of device, driver and binary
  std::string path_;
  bool loaded_ = false;
  VkPipelineCache handle_ = VK_NULL_HANDLE;
};

}  // namespace pocket
