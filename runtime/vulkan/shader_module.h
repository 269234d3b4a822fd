// VkShaderModule of one SPIR-V binary.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "runtime/vulkan/loader.h"

namespace pocket {

class Device;

class ShaderModule {
 public:
  ShaderModule(Device&, std::span<const uint32_t> code, const std::string& name);
  ShaderModule(ShaderModule&&) noexcept;
  ShaderModule& operator=(ShaderModule&&) = delete;
  ~ShaderModule();
  VkShaderModule handle() const { return handle_; }

 private:
  Device* device_;
  VkShaderModule handle_ = VK_NULL_HANDLE;
};

}  // namespace pocket
