#include "runtime/vulkan/result.h"

#include "runtime/base/error.h"

namespace pocket {
namespace {

struct ResultName {
  VkResult result;
  const char* name;
  const char* meaning;
};

constexpr ResultName kResults[] = {
    {VK_NOT_READY, "VK_NOT_READY", "not finished yet"},
    {VK_TIMEOUT, "VK_TIMEOUT", "the wait ran out of time"},
    {VK_INCOMPLETE, "VK_INCOMPLETE", "the answer was longer than the space for it"},
    {VK_ERROR_OUT_OF_HOST_MEMORY, "VK_ERROR_OUT_OF_HOST_MEMORY", "the host has no memory left"},
    {VK_ERROR_OUT_OF_DEVICE_MEMORY, "VK_ERROR_OUT_OF_DEVICE_MEMORY",
     "the device has no memory left"},
    {VK_ERROR_INITIALIZATION_FAILED, "VK_ERROR_INITIALIZATION_FAILED",
     "the driver could not start"},
    {VK_ERROR_DEVICE_LOST, "VK_ERROR_DEVICE_LOST",
     "the device stopped answering, often because one submission ran too long"},
    {VK_ERROR_MEMORY_MAP_FAILED, "VK_ERROR_MEMORY_MAP_FAILED", "memory could not be mapped"},
    {VK_ERROR_LAYER_NOT_PRESENT, "VK_ERROR_LAYER_NOT_PRESENT",
     "a layer in VK_INSTANCE_LAYERS is not installed"},
    {VK_ERROR_EXTENSION_NOT_PRESENT, "VK_ERROR_EXTENSION_NOT_PRESENT", "an extension is missing"},
    {VK_ERROR_FEATURE_NOT_PRESENT, "VK_ERROR_FEATURE_NOT_PRESENT", "a feature is missing"},
    {VK_ERROR_INCOMPATIBLE_DRIVER, "VK_ERROR_INCOMPATIBLE_DRIVER", "no driver fits"},
    {VK_ERROR_TOO_MANY_OBJECTS, "VK_ERROR_TOO_MANY_OBJECTS", "too many objects of one kind"},
    {VK_ERROR_FRAGMENTED_POOL, "VK_ERROR_FRAGMENTED_POOL", "the descriptor pool is fragmented"},
    {VK_ERROR_OUT_OF_POOL_MEMORY, "VK_ERROR_OUT_OF_POOL_MEMORY", "the descriptor pool is full"},
    {VK_ERROR_NOT_PERMITTED_KHR, "VK_ERROR_NOT_PERMITTED", "the system did not permit it"},
    {VK_ERROR_INVALID_SHADER_NV, "VK_ERROR_INVALID_SHADER", "the driver rejected the shader"},
    {VK_ERROR_UNKNOWN, "VK_ERROR_UNKNOWN", "the driver did not say why"},
};

}  // namespace

std::string result_text(VkResult result) {
  for (const ResultName& entry : kResults) {
    if (entry.result == result) return std::string(entry.name) + " (" + entry.meaning + ")";
  }
  return "VkResult " + std::to_string(static_cast<int>(result));
}

void check(VkResult result, const char* what) {
  if (result == VK_SUCCESS) return;
  const bool memory =
      result == VK_ERROR_OUT_OF_HOST_MEMORY || result == VK_ERROR_OUT_OF_DEVICE_MEMORY;
  throw Error(memory ? ExitCode::out_of_memory : ExitCode::device,
              std::string(what) + " failed: " + result_text(result));
}

void check(VkResult result, const std::string& what) { check(result, what.c_str()); }

}  // namespace pocket
