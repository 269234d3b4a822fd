// Tiny packages on disk, one device for the tests of this program, and the host's logits to compare
// with.
#pragma once

#include <cmath>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "runtime/base/error.h"
#include "runtime/engine/session.h"
#include "runtime/kernels/host_executor.h"
#include "runtime/vulkan/device.h"
#include "test/support/catch.h"
#include "test/support/command.h"
#include "test/support/tiny_model.h"

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

// A package file that lives as long as the program.
inline std::string tiny_package(const TinyOptions& options, uint64_t shard_bytes = kShardBytes) {
  static TemporaryFolder folder;
  static int number = 0;
  const std::string path = (folder.path() / (std::to_string(number++) + ".pocket")).string();
  write_tiny_model(make_tiny_model(options), path, shard_bytes);
  return path;
}

inline EngineOptions engine_options(int64_t context = 64, int64_t chunk = 8) {
  EngineOptions options;
  options.context = context;
  options.chunk = chunk;
  options.poison = true;
  return options;
}

inline std::vector<int32_t> random_tokens(size_t count, int64_t vocab = 105, uint32_t seed = 1) {
  std::mt19937 random(seed);
  std::vector<int32_t> tokens(count);
  for (int32_t& token : tokens)
    token = static_cast<int32_t>(random() % static_cast<uint32_t>(vocab));
  return tokens;
}

// Largest relative L2 distance of a row; huge when sizes differ or a value is not finite.
inline double row_distance(const std::vector<float>& got, const std::vector<float>& want,
                           size_t vocab) {
  if (got.size() != want.size() || want.empty() || want.size() % vocab != 0) return 1e30;
  double worst = 0;
  for (size_t row = 0; row < want.size(); row += vocab) {
    double error = 0, norm = 0;
    for (size_t i = row; i < row + vocab; ++i) {
      if (!std::isfinite(got[i])) return 1e30;
      const double d = static_cast<double>(got[i]) - static_cast<double>(want[i]);
      error += d * d;
      norm += static_cast<double>(want[i]) * static_cast<double>(want[i]);
    }
    worst = std::max(worst, std::sqrt(error / norm));
  }
  return worst;
}

inline std::vector<float> host_logits(const std::string& path, const std::vector<int32_t>& tokens) {
  const Package package = Package::open(path);
  HostExecutor host(package, {});
  return host.append(tokens);
}

// n tokens by decode(), all delivered.
inline std::vector<int32_t> decode_all(Engine& engine, int64_t n,
                                       const std::vector<int32_t>& stop_ids = {}) {
  std::vector<int32_t> tokens;
  engine.decode(
      n,
      [&](int32_t token) {
        tokens.push_back(token);
        return true;
      },
      stop_ids);
  return tokens;
}

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
