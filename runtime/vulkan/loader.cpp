#include "runtime/vulkan/loader.h"

#include "runtime/base/error.h"

namespace pocket {

void load_vulkan() {
  static const VkResult result = volkInitialize();
  if (result != VK_SUCCESS) {
    throw Error(ExitCode::device,
                "no Vulkan loader was found on this machine; install one (Debian: libvulkan1)");
  }
}

}  // namespace pocket
