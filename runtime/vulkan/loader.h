// The Vulkan loader, opened at run time by volk: a program that links this still starts where no
// Vulkan is installed. Every Vulkan name in this project comes through this header.
#pragma once

#ifndef VK_NO_PROTOTYPES
#define VK_NO_PROTOTYPES
#endif
#include <volk.h>

namespace pocket {

// Opens the loader once per process. Throws Error(device) when there is none.
void load_vulkan();

}  // namespace pocket
