#include "runtime/vulkan/shader_module.h"

#include <utility>

#include "runtime/base/error.h"
#include "runtime/vulkan/device.h"
#include "runtime/vulkan/result.h"

namespace pocket {

ShaderModule::ShaderModule(Device& device, std::span<const uint32_t> code, const std::string& name)
    : device_(&device) {
  if (code.empty()) {
    throw Error(ExitCode::device, "the shader \"" + name + "\" is not in this binary");
  }
  VkShaderModuleCreateInfo info{VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO};
  info.codeSize = code.size_bytes();
  info.pCode = code.data();
  check(device.table().vkCreateShaderModule(device.handle(), &info, nullptr, &handle_),
        "creating the shader module \"" + name + "\"");
}

ShaderModule::ShaderModule(ShaderModule&& other) noexcept
    : device_(other.device_), handle_(std::exchange(other.handle_, VK_NULL_HANDLE)) {}

ShaderModule::~ShaderModule() {
  if (handle_) device_->table().vkDestroyShaderModule(device_->handle(), handle_, nullptr);
}

}  // namespace pocket
