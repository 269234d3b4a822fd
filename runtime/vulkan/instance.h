// VkInstance, and the count of validation messages while a validation layer is loaded. Layers are
// the user's choice (VK_INSTANCE_LAYERS); nothing here enables one.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runtime/vulkan/loader.h"

namespace pocket {

// Warnings and errors that the validation layers reported through VK_EXT_debug_utils.
struct ValidationLog {
  std::atomic<uint64_t> count = 0;
  std::string last;  // text of the newest message; read it while no call is in progress
};

class Instance {
 public:
  Instance();  // Throws Error(device): no loader, or no driver.
  Instance(Instance&&) noexcept;
  Instance& operator=(Instance&&) noexcept;
  ~Instance();

  VkInstance handle() const { return handle_; }
  uint32_t api_version() const { return api_version_; }
  std::vector<VkPhysicalDevice> physical_devices() const;  // may be empty

  // Messages so far; always 0 without a validation layer or VK_EXT_debug_utils.
  uint64_t validation_messages() const;
  std::string last_validation_message() const;
  bool has_validation() const;  // a layer that reports through VK_EXT_debug_utils is loaded

 private:
  void destroy();
  VkInstance handle_ = VK_NULL_HANDLE;
  uint32_t api_version_ = 0;
  VkDebugUtilsMessengerEXT messenger_ = VK_NULL_HANDLE;
  std::unique_ptr<ValidationLog> log_;
};

}  // namespace pocket
