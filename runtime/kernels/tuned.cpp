#include "runtime/kernels/tuned.h"

#include <algorithm>

namespace pocket {

std::string ConfigRequest::key() const {
  std::string text = kernel_name(kernel);
  if (!what.empty()) text += " " + what;
  if (shape.group16) text += " in groups of 16";  // kernels of their own
  if (shape.gated) text += " gated";
  return text + ", " + std::to_string(shape.tokens) + (shape.tokens == 1 ? " token" : " tokens");
}

void TunedConfigs::set(const std::string& key, const KernelConfig& config) {
  KernelConfig& row = rows_[key] = config;
  row.origin = kTunedOrigin;
}

const KernelConfig* TunedConfigs::find(const std::string& key) const {
  const auto found = rows_.find(key);
  return found == rows_.end() ? nullptr : &found->second;
}

bool same_numbers(const KernelConfig& a, const KernelConfig& b) {
  return a.kernel == b.kernel && a.lanes == b.lanes && a.rows == b.rows && a.tokens == b.tokens &&
         a.splits == b.splits && a.subgroup == b.subgroup && a.texels == b.texels;
}

std::vector<KernelConfig> candidates(const ConfigRequest& request, const DeviceLimits& limits) {
  std::vector<KernelConfig> rows;
  for (const KernelConfig& row : kernel_configs()) {
    if (row.kernel != request.kernel || !valid(row, limits, request.shape)) continue;
    const bool known = std::any_of(rows.begin(), rows.end(), [&](const KernelConfig& other) {
      return same_numbers(row, other);
    });
    if (!known) rows.push_back(row);
  }
  return rows;
}

}  // namespace pocket
