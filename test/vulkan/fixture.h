// One device for all tests of this program, without a pipeline cache on disk; tests that change the
// function table or count objects make a device of their own.
#pragma once

#include <string>

#include "runtime/base/error.h"
#include "runtime/vulkan/device.h"

namespace pocket::test {

inline Instance& shared_instance() {
  static Instance instance;
  return instance;
}

inline DeviceOptions no_cache() {
  DeviceOptions options;
  options.cache_folder = "-";
  return options;
}

inline Device& shared_device() {
  shared_instance();
  static Device device(shared_instance(), no_cache());
  return device;
}

// The exit code and sentence of the Error that `action` throws; {ok, ""} when it throws none.
template <typename Action>
Error error_of(Action&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error;
  }
  return Error(ExitCode::ok, "");
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace pocket::test
