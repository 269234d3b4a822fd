// Configuration rows that `llmbench tune` found to be the fastest on a device, by the work that
// they are for. They come before the table's rows wherever they are valid.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "runtime/kernels/config.h"

namespace pocket {

// What a planner asked a row for. `what` tells apart what KernelShape does not: the encoding and
// columns of a matrix, the heads of an attention.
struct ConfigRequest {
  Kernel kernel = Kernel::map;
  KernelShape shape;
  std::string what;
  std::string key() const;  // "gemv m0e4 2048 x 5632 gated, 1 token"
};

inline constexpr const char* kTunedOrigin = "tuned on this device";

class TunedConfigs {
 public:
  // The row's origin becomes kTunedOrigin.
  void set(const std::string& key, const KernelConfig&);
  const KernelConfig* find(const std::string& key) const;  // null: not tuned
  const std::map<std::string, KernelConfig>& rows() const { return rows_; }

 private:
  std::map<std::string, KernelConfig> rows_;
};

// Whether two rows make a kernel do the same, whatever device and origin they name.
bool same_numbers(const KernelConfig&, const KernelConfig&);

// The table's rows that are valid for the request, each set of numbers once.
std::vector<KernelConfig> candidates(const ConfigRequest&, const DeviceLimits&);

}  // namespace pocket
