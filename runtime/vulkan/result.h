// VkResult -> a sentence and an exit code.
#pragma once

#include <string>

#include "runtime/vulkan/loader.h"

namespace pocket {

// "VK_ERROR_OUT_OF_DEVICE_MEMORY (the device has no memory left)"
std::string result_text(VkResult);

// Returns on VK_SUCCESS. Otherwise throws Error(out_of_memory) for the two out-of-memory results
// and Error(device) for all others; `what` says what failed, e.g. "creating the pipeline gemv_f16".
void check(VkResult, const std::string& what);
// The same for hot paths: builds no string unless the call failed.
void check(VkResult, const char* what);

}  // namespace pocket
