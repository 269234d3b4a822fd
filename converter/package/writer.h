// Writes a .pocket file, weight by weight in bounded memory, and atomically: everything goes to a
// temporary file beside the target, which replaces the target only when it is complete and synced.
// The temporary file disappears when the writer is destroyed before that.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/package/package.h"

namespace pocket {

class PackageWriter {
 public:
  // Throws Error(usage) when no file can be made beside `path`. `shard_bytes` is for tests.
  explicit PackageWriter(const std::string& path, uint64_t shard_bytes = kShardBytes);
  ~PackageWriter();
  PackageWriter(const PackageWriter&) = delete;
  PackageWriter& operator=(const PackageWriter&) = delete;

  // Starts the next weight; the order is that of Program::weights. Throws Error(bad_input) when a
  // block of 32 rows does not fit a shard.
  void begin_weight(const std::string& name, const std::vector<int64_t>& shape,
                    const WeightFormat& format);
  // w8a8: the scale of the current weight's input, and what calibration saw of its outliers.
  void set_input(float act_scale, std::optional<Outlier> outlier = std::nullopt);
  // The next bytes of a role of the current weight, in the layout of weight.h; `bits` tells planes
  // and tables apart. Roles may alternate. Bytes may be cut anywhere.
  void append(SectionRole role, std::span<const uint8_t> bytes, int32_t bits = 0);

  // Fills `manifest.weights` and `manifest.shards`, checks the result as a reader would, and puts
  // the file in place. Throws Error(bad_input) when weights are missing or incomplete. `check`
  // sees the complete file under its temporary name; when it throws, nothing is put in place.
  void finish(Manifest manifest, const std::function<void(const std::string& path)>& check = {});

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pocket
