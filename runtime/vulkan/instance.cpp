#include "runtime/vulkan/instance.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <utility>

#include "runtime/base/error.h"
#include "runtime/vulkan/result.h"

namespace pocket {
namespace {

VKAPI_ATTR VkBool32 VKAPI_CALL on_message(VkDebugUtilsMessageSeverityFlagBitsEXT,
                                          VkDebugUtilsMessageTypeFlagsEXT,
                                          const VkDebugUtilsMessengerCallbackDataEXT* data,
                                          void* user) {
  auto* log = static_cast<ValidationLog*>(user);
  log->count.fetch_add(1, std::memory_order_relaxed);
  log->last = data->pMessage ? data->pMessage : "";
  std::cerr << "validation: " << log->last << "\n";
  return VK_FALSE;
}

// A layer is loaded by the user's environment, and only then a messenger has anything to say. The
// loader offers VK_EXT_debug_utils in any case, so its presence alone tells nothing.
bool layers_requested() {
  const char* layers = std::getenv("VK_INSTANCE_LAYERS");
  return layers != nullptr && std::strstr(layers, "validation") != nullptr;
}

bool instance_extension(const char* name) {
  uint32_t count = 0;
  if (vkEnumerateInstanceExtensionProperties(nullptr, &count, nullptr) != VK_SUCCESS) return false;
  std::vector<VkExtensionProperties> all(count);
  if (vkEnumerateInstanceExtensionProperties(nullptr, &count, all.data()) < 0) return false;
  return std::any_of(all.begin(), all.end(), [&](const VkExtensionProperties& extension) {
    return std::strcmp(extension.extensionName, name) == 0;
  });
}

}  // namespace

Instance::Instance() : log_(std::make_unique<ValidationLog>()) {
  load_vulkan();
  uint32_t loader_version = VK_API_VERSION_1_0;
  if (vkEnumerateInstanceVersion) vkEnumerateInstanceVersion(&loader_version);
  if (loader_version < VK_API_VERSION_1_1) {
    throw Error(ExitCode::device,
                "the Vulkan loader has version 1.0 and 1.1 is needed; install a newer libvulkan1");
  }
  api_version_ = std::min<uint32_t>(loader_version, VK_API_VERSION_1_3);

  VkApplicationInfo application{VK_STRUCTURE_TYPE_APPLICATION_INFO};
  application.pApplicationName = "pocketformer";
  application.apiVersion = api_version_;

  VkDebugUtilsMessengerCreateInfoEXT messenger{
      VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT};
  messenger.messageSeverity = VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT |
                              VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT;
  messenger.messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT |
                          VK_DEBUG_UTILS_MESSAGE_TYPE_PERFORMANCE_BIT_EXT;
  messenger.pfnUserCallback = on_message;
  messenger.pUserData = log_.get();

  const bool validate = layers_requested() && instance_extension(VK_EXT_DEBUG_UTILS_EXTENSION_NAME);
  const char* extensions[] = {VK_EXT_DEBUG_UTILS_EXTENSION_NAME};
  VkInstanceCreateInfo create{VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO};
  create.pApplicationInfo = &application;
  if (validate) {
    create.pNext = &messenger;
    create.enabledExtensionCount = 1;
    create.ppEnabledExtensionNames = extensions;
  }
  const VkResult result = vkCreateInstance(&create, nullptr, &handle_);
  if (result == VK_ERROR_INCOMPATIBLE_DRIVER || result == VK_ERROR_INITIALIZATION_FAILED) {
    throw Error(ExitCode::device,
                "no Vulkan driver was found on this machine; install one (Debian: "
                "mesa-vulkan-drivers) and check VK_DRIVER_FILES");
  }
  check(result, "creating the Vulkan instance");
  volkLoadInstanceOnly(handle_);
  if (validate) {
    const VkResult made = vkCreateDebugUtilsMessengerEXT(handle_, &messenger, nullptr, &messenger_);
    if (made != VK_SUCCESS) {
      destroy();
      check(made, "creating the validation messenger");
    }
  }
}

Instance::Instance(Instance&& other) noexcept
    : handle_(std::exchange(other.handle_, VK_NULL_HANDLE)),
      api_version_(other.api_version_),
      messenger_(std::exchange(other.messenger_, VK_NULL_HANDLE)),
      log_(std::move(other.log_)) {}

Instance& Instance::operator=(Instance&& other) noexcept {
  if (this != &other) {
    destroy();
    handle_ = std::exchange(other.handle_, VK_NULL_HANDLE);
    api_version_ = other.api_version_;
    messenger_ = std::exchange(other.messenger_, VK_NULL_HANDLE);
    log_ = std::move(other.log_);
  }
  return *this;
}

Instance::~Instance() { destroy(); }

void Instance::destroy() {
  if (messenger_) vkDestroyDebugUtilsMessengerEXT(handle_, messenger_, nullptr);
#ifndef __SANITIZE_ADDRESS__
  // Under AddressSanitizer the driver stays loaded: once it is unmapped, what it leaks can no
  // longer be told from what we leak (scripts/lsan.supp names modules).
  if (handle_) vkDestroyInstance(handle_, nullptr);
#endif
  messenger_ = VK_NULL_HANDLE;
  handle_ = VK_NULL_HANDLE;
}

std::vector<VkPhysicalDevice> Instance::physical_devices() const {
  uint32_t count = 0;
  check(vkEnumeratePhysicalDevices(handle_, &count, nullptr), "listing the Vulkan devices");
  std::vector<VkPhysicalDevice> devices(count);
  const VkResult result = vkEnumeratePhysicalDevices(handle_, &count, devices.data());
  if (result != VK_INCOMPLETE) check(result, "listing the Vulkan devices");
  devices.resize(count);
  return devices;
}

uint64_t Instance::validation_messages() const { return log_->count.load(); }
std::string Instance::last_validation_message() const { return log_->last; }
bool Instance::has_validation() const { return messenger_ != VK_NULL_HANDLE; }

}  // namespace pocket
