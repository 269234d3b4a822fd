// Environment of a program that runs under the Khronos validation layer with synchronisation checks
// across submits (for run_command). The separator is the layer's own: with another it checks
// nothing.
#pragma once

namespace pocket::test {

// The layer leaks by itself; a program's own leaks show in its run without it.
inline constexpr const char* kUnderValidation =
    "ASAN_OPTIONS=detect_leaks=0 "
    "VK_INSTANCE_LAYERS=VK_LAYER_KHRONOS_validation "
    "VK_LAYER_ENABLES=VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT:"
    "VALIDATION_CHECK_ENABLE_SYNCHRONIZATION_VALIDATION_QUEUE_SUBMIT";

}  // namespace pocket::test
